"""Image files of every kind become upright RGB of 8 bit; masks become 0 and 1."""

import numpy as np
import pytest
from PIL import Image

from medkd.reading.frames import to_mask, to_rgb

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


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 127, 128, 255], [0, 0, 1, 1]), ([0, 1, 1, 0], [0, 1, 1, 0]), ([0, 0, 0, 0], [0, 0, 0, 0])],
    ids=["grey levels", "zeros and ones", "empty"],
)
def test_a_mask_is_read_as_it_is_written(values, expected):
    found = np.asarray(to_mask(Image.fromarray(np.array([values], dtype=np.uint8))))
    assert found.tolist() == [expected]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
@pytest.mark.parametrize("white", [1, 255, 65535])
def test_a_mask_of_more_bits_is_read_as_it_is_meant(tmp_path, dtype, white):
    values = np.zeros((4, 6), dtype)
    values[1:3, 2:4] = white
    Image.fromarray(values).save(tmp_path / "mask.tif")
    with Image.open(tmp_path / "mask.tif") as opened:
        assert np.array_equal(np.asarray(to_mask(opened)), (values > 0).astype(np.uint8))


def test_the_entries_of_a_palette_are_the_mask_whatever_their_colours():
    values = np.zeros((4, 6), np.uint8)
    values[1:3, 2:4] = 1
    image = Image.new("P", (6, 4))
    image.putdata(values.ravel().tolist())
    image.putpalette([0, 0, 0, 128, 0, 0])
    assert np.array_equal(np.asarray(to_mask(image)), values)


def test_eight_bits_in_a_file_of_sixteen_are_kept():
    assert np.array_equal(np.asarray(to_rgb(Image.fromarray(GREY.astype(np.uint16))))[..., 0], GREY)


def test_a_picture_of_floating_point_numbers_is_refused():
    with pytest.raises(ValueError, match="expected a picture of 8 or 16 bit, found floating-point numbers"):
        to_rgb(Image.fromarray(GREY.astype(np.float32)))


def test_a_mask_that_may_mean_anything_is_refused():
    with pytest.raises(ValueError, match="expected a mask of 0 and 1 or of 0 and 255, found values up to 40"):
        to_mask(Image.fromarray(np.array([[0, 40]], dtype=np.uint8)))
