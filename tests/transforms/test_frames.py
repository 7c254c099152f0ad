"""Image files of every kind become upright RGB of 8 bit; masks become 0 and 1."""

import numpy as np
import pytest
from PIL import Image

from medkd.transforms.frames import to_mask, to_rgb

GREY = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_grey_levels_are_kept_in_every_mode(mode):
    found = to_rgb(Image.fromarray(GREY).convert(mode))
    assert (found.mode, found.size) == ("RGB", (6, 4))
    assert np.array_equal(np.asarray(found), np.repeat(GREY[..., None], 3, 2))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_sixteen_bits_become_eight(dtype):
    image = Image.fromarray(GREY.astype(dtype) * 257)
    assert np.array_equal(np.asarray(to_rgb(image))[..., 0], GREY)


def test_a_rotated_photograph_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREY).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(to_rgb(image))[..., 0], np.rot90(GREY, -1))


def test_a_mask_is_foreground_from_half_of_white():
    found = np.asarray(to_mask(Image.fromarray(np.array([[0, 127, 128, 255]], dtype=np.uint8))))
    assert found.tolist() == [[0, 0, 1, 1]]
