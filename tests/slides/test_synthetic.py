"""The synthetic slide is what it says, pixel by pixel."""

import hashlib

import numpy as np
import openslide
import pytest

from medkd.slides import make_slide, open_slide
from medkd.slides.synthetic import SyntheticSlide


def test_openslide_opens_it_with_its_metadata(made):
    with openslide.OpenSlide(made[0]) as slide:
        assert slide.level_dimensions == ((1300, 900), (650, 450))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
        assert slide.properties["openslide.vendor"] == "generic-tiff"


def test_every_pixel_has_the_colour_of_its_class(made, truth):
    pixels = open_slide(made[0]).read_level(0, 0, 0, 900, 1300).astype(int)
    assert (pixels[truth == 0] == 243).all()
    assert np.abs(pixels[truth == 1] - (226, 168, 204)).max() <= 6
    assert np.abs(pixels[truth == 2] - (128, 92, 172)).max() <= 6
    assert {0, 1, 2} == set(np.unique(truth))


def test_tiles_that_are_repeated_have_no_border_in_them():
    """Whatever the size of the shapes: a tile that was taken for plain is plain."""
    slide = SyntheticSlide((2000, 2300), 300)
    for diameter in (90, 300, 700, 1900):
        slide = SyntheticSlide((2000, 2300), diameter)
        for scale in (1, 2):
            for top in range(0, 2000 // scale, 256):
                for left in range(0, 2300 // scale, 256):
                    places = [(np.arange(256) + first + 0.5) * scale for first in (top, left)]
                    if slide.tile(top, left, scale) in slide._plain:
                        assert np.ptp(slide.classes(*places)) == 0


def test_it_is_the_same_every_time(made, tmp_path):
    make_slide(tmp_path / "again.tif", (900, 1300))
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (made[0], tmp_path / "again.tif")]
    assert digests[0] == digests[1]


def test_a_slide_without_levels_or_resolution(tmp_path):
    make_slide(tmp_path / "a.tif", (1500, 1200), pyramid=False, mpp=None)
    slide = open_slide(tmp_path / "a.tif")
    assert slide.level_sizes == [(1500, 1200)]
    assert slide.mpp is None
