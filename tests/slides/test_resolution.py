"""The network's resolution is exactly the one asked for."""

import numpy as np
import pytest
from PIL import Image

from medkd.slides import make_slide, open_slide
from medkd.slides import resolution as module
from medkd.slides.resolution import network_downsample, read_scaled


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"downsample": 3}, 3.0),
        ({"mpp": 0.5}, 1.0),
        ({"mpp": 0.49}, 1.0),  # within 5 %: the level as it is
        ({"mpp": 1.03}, 2.0),
        ({"mpp": 1.5}, 3.0),
        ({"mpp": 0.7, "slide_mpp": 9.0}, 1.4),  # what the file says counts
    ],
)
def test_downsample_of_the_network_s_input(made, options, expected):
    assert network_downsample(open_slide(made[0]), **options) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected either mpp or downsample, got mpp None and downsample None"),
        ({"mpp": 1, "downsample": 2}, "expected either mpp or downsample, got mpp 1 and downsample 2"),
        ({"downsample": 0}, "expected a downsample above 0, level-0 pixels per pixel, got 0"),
        ({"mpp": 0.25}, r"ring.tif: expected at most 0.25 microns per pixel, found 0.5: it is too coarse"),
    ],
)
def test_what_cannot_be_is_refused(made, options, message):
    with pytest.raises(ValueError, match=message):
        network_downsample(open_slide(made[0]), **options)


def test_a_slide_is_enlarged_as_a_tile_is(made):
    """Students of small tiles see them enlarged; Pillow, on the whole tile, away from its borders."""
    slide = open_slide(made[0])
    assert network_downsample(slide, downsample=0.5) == 0.5
    tile = Image.fromarray(read_scaled(slide, (200, 300), (64, 96), 1))
    expected = np.asarray(tile.resize((192, 128), Image.Resampling.BILINEAR)).astype(int)
    found = read_scaled(slide, (200, 300), (128, 192), 0.5).astype(int)
    assert np.abs(found - expected)[2:-2, 2:-2].max() <= 1


def test_a_slide_without_mpp_says_the_remedy(tmp_path):
    make_slide(tmp_path / "a.tif", (300, 300), mpp=None)
    slide = open_slide(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif: expected microns .*found none; give downsample .* as slide_mpp"):
        network_downsample(slide, mpp=0.5)
    assert network_downsample(slide, mpp=0.5, slide_mpp=0.25) == 2


def test_a_real_slide_without_mpp(shared):
    slide = open_slide(shared / "data" / "slides" / "histolab" / "tcga-cr-7395-01a-01-ts1.svs")
    with pytest.raises(ValueError, match=r"ts1\.svs: expected microns per pixel"):
        network_downsample(slide, mpp=0.5)
    assert network_downsample(open_slide(slide.path.with_name("cmu-1-small-region.svs")), mpp=0.5) == 1


@pytest.mark.parametrize("downsample", [1.0, 1.5, 2.0, 3.0])
def test_shapes_are_where_they_should_be_at_any_resolution(made, downsample):
    """The centre of the dark pixels of a tile with the whole ring, against the centre of the slide."""
    location = (200.0, 400.5)
    size = (round(500 / downsample), round(500 / downsample))
    tile = read_scaled(open_slide(made[0]), location, size, downsample)
    dark = np.clip((160 - tile[..., 1].astype(float)) / 68, 0, 1)
    places = np.indices(size) + 0.5
    centre = (places * dark).sum((1, 2)) / dark.sum() * downsample + location
    assert np.abs(centre - (450, 650)).max() < 0.2
    assert dark.sum() * downsample**2 == pytest.approx(np.pi * (180**2 - 72**2), rel=0.02)


def test_pieces_do_not_show(made, monkeypatch):
    slide = open_slide(made[0])
    whole = read_scaled(slide, (-7.5, 13.25), (211, 307), 3.7)
    monkeypatch.setattr(module, "_LARGEST_REGION", 4000)
    pieces = read_scaled(slide, (-7.5, 13.25), (211, 307), 3.7)
    assert np.abs(whole.astype(int) - pieces).max() <= 1  # Pillow rounds places within a region to fixed point
