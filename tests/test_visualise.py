"""Pictures of masks over images."""

import numpy as np
import pytest
from matplotlib.image import imread

from medkd.visualise import overlay_figure, save_overlay

rng = np.random.default_rng(0)


def mask(shape, depth=None):
    made = np.zeros(shape, dtype=np.uint8)
    made[(slice(2, 6), slice(2, 6), *(() if depth is None else (depth,)))] = 1
    return made


def shown(axis):
    return [np.asarray(picture.get_array()) for picture in axis.get_images()]


def test_a_row_per_case_and_a_column_per_mask():
    image = rng.random((10, 8))
    figure = overlay_figure({"one": (image, {"label": mask((10, 8)), "student": mask((10, 8))}), "two": (image, {})})
    assert len(figure.axes) == 6
    assert [axis.get_title() for axis in figure.axes[:4]] == ["one", "label", "student", "two"]
    assert np.array_equal(shown(figure.axes[0])[0], image.T)


@pytest.mark.parametrize(("depths", "expected"), [((None, 3), 3), ((1, 3), 1)], ids=["first is empty", "first"])
def test_the_slice_with_most_foreground_of_the_first_filled_mask_is_shown(depths, expected):
    image = rng.random((10, 8, 5))
    masks = {
        str(n): np.zeros(image.shape, np.uint8) if depth is None else mask(image.shape, depth)
        for n, depth in enumerate(depths)
    }
    figure = overlay_figure({"case": (image, masks)})
    assert np.array_equal(shown(figure.axes[0])[0], image[..., expected].T)


def test_without_foreground_the_middle_slice_is_shown():
    image = rng.random((10, 8, 5))
    figure = overlay_figure({"case": (image, {"label": np.zeros(image.shape, np.uint8)})})
    assert np.array_equal(shown(figure.axes[0])[0], image[..., 2].T)


def test_a_constant_image_can_be_drawn(tmp_path):
    save_overlay(tmp_path / "new" / "o.png", {"flat": (np.ones((10, 8)), {"label": mask((10, 8))})})
    picture = imread(tmp_path / "new" / "o.png")
    assert picture.shape[:2] == (280, 520)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["o.png"]


def test_the_background_is_transparent_and_classes_have_their_colours():
    image, label = rng.random((10, 8)), mask((10, 8))
    label[7:9, 2:6] = 3
    overlay = overlay_figure({"case": (image, {"label": label})}).axes[1].get_images()[1]
    colours = overlay.to_rgba(overlay.get_array())
    assert np.all(np.ma.getmaskarray(overlay.get_array()) == (label.T == 0))
    assert not np.allclose(colours[3, 3], colours[3, 7])
