"""Seeds made from masks lie inside them, are few, and depend on nothing but the mask and the random generator."""

import numpy as np
import pytest

from medkd.transforms import seed_label
from medkd.transforms.seeds import GENERATORS, centroid_ellipse, erosion, random_pixels

METHODS = sorted(GENERATORS)


def disc(size=48, radius=18, centre=(24, 24)):
    y, x = np.ogrid[:size, :size]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2


def ring():
    return disc() & ~disc(radius=12)


def one_pixel():
    mask = np.zeros((9, 9), dtype=bool)
    mask[3, 4] = True
    return mask


def line():
    mask = np.zeros((9, 20), dtype=bool)
    mask[4, 2:18] = True
    return mask


def at_the_border():
    mask = np.zeros((12, 12), dtype=bool)
    mask[:6] = True
    return mask


MASKS = [disc, ring, one_pixel, line, at_the_border]


@pytest.fixture
def label():
    """Three slices: a ring of 2 around a disc of 3 with a 1 beside it; a lone disc of 3; nothing."""
    label = np.zeros((48, 48, 3), dtype=np.uint8)
    label[..., 0][disc()] = 2
    label[..., 0][disc(radius=12)] = 3
    label[..., 0][disc(radius=5, centre=(6, 6))] = 1
    label[..., 1][disc(radius=10)] = 3
    return label


@pytest.mark.parametrize("fraction", [0.001, 0.1, 1.0])
@pytest.mark.parametrize("make", MASKS, ids=[make.__name__ for make in MASKS])
@pytest.mark.parametrize("method", METHODS)
def test_seeds_lie_inside_the_mask_and_are_never_none(method, make, fraction):
    mask = make()
    before = mask.copy()
    seeds = GENERATORS[method](mask, np.random.default_rng(0), fraction)
    assert seeds.shape == mask.shape
    assert seeds.dtype == bool
    assert seeds.any()
    assert not (seeds & ~mask).any()
    assert np.array_equal(mask, before)


@pytest.mark.parametrize("fraction", [0.03, 0.25, 0.5, 1.0])
def test_random_pixels_are_the_fraction_exactly(fraction):
    mask = disc()
    assert random_pixels(mask, np.random.default_rng(0), fraction).sum() == round(fraction * mask.sum())


@pytest.mark.parametrize("fraction", [0.05, 0.25, 0.5])
def test_the_core_of_a_disc_is_at_most_the_fraction_and_not_much_less(fraction):
    mask = disc()
    share = erosion(mask, np.random.default_rng(0), fraction).sum() / mask.sum()
    assert fraction / 2 < share <= fraction


@pytest.mark.parametrize("fraction", [0.05, 0.25, 0.5])
def test_the_ellipse_of_a_disc_is_about_the_fraction_around_its_centre(fraction):
    seeds = centroid_ellipse(disc(), np.random.default_rng(0), fraction)
    assert seeds.sum() / disc().sum() == pytest.approx(fraction, rel=0.15)
    assert np.argwhere(seeds).mean(0) == pytest.approx([24, 24], abs=0.5)


def test_the_ellipse_is_stretched_as_the_mask_is():
    y, x = np.ogrid[:60, :60]
    mask = ((y - 30) / 24) ** 2 + ((x - 30) / 8) ** 2 < 1
    points = np.argwhere(centroid_ellipse(mask, np.random.default_rng(0), 0.25))
    height, width = np.ptp(points, axis=0) + 1
    assert height / width == pytest.approx(3, rel=0.2)


def test_the_ellipse_of_a_ring_moves_onto_the_ring():
    seeds = centroid_ellipse(ring(), np.random.default_rng(0), 0.05)
    offset = np.linalg.norm(np.argwhere(seeds).mean(0) - 24)
    assert 10 < offset < 18


@pytest.mark.parametrize("method", METHODS)
def test_every_class_of_every_slice_is_seeded_and_no_background(label, method):
    weak = seed_label(label, method=method, rng=np.random.default_rng(0), fraction=0.05)
    assert weak.dtype == np.uint8
    assert weak.shape == label.shape
    assert [set(np.unique(weak[..., i])) - {255} for i in range(3)] == [{1, 2, 3}, {3}, set()]
    annotated = weak != 255
    assert np.array_equal(weak[annotated], label[annotated])
    assert annotated.sum() < 0.12 * (label > 0).sum()


@pytest.mark.parametrize("method", METHODS)
def test_unannotated_pixels_of_the_full_label_stay_so(label, method):
    label[label == 2] = 9
    weak = seed_label(label, method=method, rng=np.random.default_rng(0), ignore_index=9)
    assert set(np.unique(weak)) == {1, 3, 9}
    assert (weak[label == 9] == 9).all()


@pytest.mark.parametrize("method", METHODS)
def test_one_generator_state_gives_one_result(label, method):
    first, second = (seed_label(label, method=method, rng=np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first, second)


def test_another_generator_state_draws_other_pixels(label):
    first, second = (seed_label(label, method="random", rng=np.random.default_rng(seed)) for seed in (4, 5))
    assert not np.array_equal(first, second)


def test_an_unknown_method_is_refused(label):
    with pytest.raises(ValueError, match=r"method must be one of \['ellipse', 'erosion', 'random'\], got 'points'"):
        seed_label(label, method="points", rng=np.random.default_rng(0))


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1])
def test_a_fraction_out_of_range_is_refused(label, fraction):
    with pytest.raises(ValueError, match=rf"fraction must lie in \(0, 1\], got {fraction}"):
        seed_label(label, method="random", rng=np.random.default_rng(0), fraction=fraction)


@pytest.mark.parametrize("value", [-1, 256])
def test_an_ignore_value_that_does_not_fit_a_byte_is_refused(label, value):
    with pytest.raises(ValueError, match=rf"ignore_index must lie in \[0, 255\], got {value}"):
        seed_label(label, method="random", rng=np.random.default_rng(0), ignore_index=value)
