"""Synthetic tiles: the same every time, hard enough, and with a datalist that holds."""

import numpy as np
import pytest
from PIL import Image

from medkd.datasets import check_datalist, load_datalist, make_histology_phantoms
from medkd.datasets.histology_phantoms import histology_phantom


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "data"
    return root, make_histology_phantoms(root, training=6, validation=2, test=4, size=64)


def test_every_other_tile_is_positive(made):
    root, found = made
    assert found["training"] == {"images": 6, "patients": 6, "positive": 3}
    assert check_datalist(root) == found
    for item in load_datalist(root, "training"):
        assert np.asarray(Image.open(item["mask"])).any() == bool(item["label"])


def test_the_same_seed_gives_the_same_tile():
    first, second, other = (histology_phantom(np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_darkness_alone_does_not_tell_a_positive_tile():
    """Lymphocytes are as dark as tumour, so the darkest percentile of both kinds of tile overlaps."""
    rngs = [np.random.default_rng([7, number]) for number in range(30)]
    dark = [np.quantile(histology_phantom(rng, positive=n % 2 == 1)[0], 0.01) for n, rng in enumerate(rngs)]
    assert min(dark[1::2]) < max(dark[::2])
    assert min(dark[::2]) < max(dark[1::2])


def test_the_tumour_is_a_part_of_its_tile():
    shares = [(histology_phantom(np.random.default_rng([3, n]))[1] > 0).mean() for n in range(20)]
    assert 0.02 < min(shares) < max(shares) < 0.5


@pytest.mark.parametrize("options", [{"size": 32}, {"test": 1}])
def test_numbers_out_of_range_are_refused(tmp_path, options):
    with pytest.raises(ValueError, match="expected size >= 64 and at least two tiles in every group"):
        make_histology_phantoms(tmp_path / "data", **options)
