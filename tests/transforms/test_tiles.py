"""Loading tiles: whole files and regions, labels of images and of pixels."""

import numpy as np
import pytest
import torch
from PIL import Image

from medkd.slides import make_slide, write_annotation
from medkd.transforms import LoadTiled, to_tile


@pytest.fixture
def files(tmp_path):
    """An image of 40 rows and 60 columns whose red is its row and whose green is its column, and a mask."""
    rows, columns = np.indices((40, 60))
    Image.fromarray(np.stack([rows, columns, rows * 0], -1).astype(np.uint8)).save(tmp_path / "image.png")
    Image.fromarray(((rows < 10) & (columns < 10)).astype(np.uint8) * 255).save(tmp_path / "mask.png")
    return str(tmp_path / "image.png"), str(tmp_path / "mask.png")


def test_a_region_lies_where_it_should_and_x_comes_first(files):
    image, mask = files
    item = {"image": image, "mask": mask, "label": 1, "location": [4, 8], "size": [16, 24]}
    found = LoadTiled(masks="always")(item)
    assert found["image"].shape == (3, 24, 16)
    assert found["image"][:2, 0, 0].tolist() == [4, 8]
    assert found["image"][:2, 23, 15].tolist() == [19, 31]
    assert found["mask"].shape == (1, 24, 16)
    assert found["mask"][0, :2, :6].all()
    assert found["mask"].sum() == 2 * 6
    assert found["image"].meta["region"].tolist() == [4, 8, 16, 24, -1]


def test_pixel_labels_are_not_read_unless_asked_for(files):
    image, _ = files
    found = LoadTiled()({"image": image, "mask": "nowhere.png", "label": 1})
    assert float(found["label"]) == 1
    assert not {"mask", "has_mask"} & set(found)


@pytest.mark.parametrize(("region", "positive"), [({}, True), ({"location": [20, 20], "size": [8, 8]}, False)])
def test_a_mask_as_label_is_positive_where_it_holds_anything(files, region, positive):
    image, mask = files
    found = LoadTiled()({"image": image, "label": mask, **region})
    assert float(found["label"]) == positive


def test_negative_tiles_need_no_file(files):
    found = LoadTiled(masks="always")({"image": files[0], "label": 0})
    assert found["has_mask"] is True
    assert found["mask"].shape == (1, 60, 40)
    assert not found["mask"].any()


def test_a_missing_mask_is_known_to_be_missing(files):
    found = LoadTiled(masks="available")({"image": files[0], "label": 1})
    assert found["has_mask"] is False
    with pytest.raises(ValueError, match=r"image\.png: expected a mask of this positive tile, found none"):
        LoadTiled(masks="always")({"image": files[0], "label": 1})


def test_a_mask_of_another_size_is_refused(files, tmp_path):
    Image.new("L", (20, 20)).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match=r"small\.png: expected the size of its tile \(40, 60\), found \(20, 20\)"):
        LoadTiled(masks="always")({"image": files[0], "mask": str(tmp_path / "small.png"), "label": 1})


def test_a_region_outside_is_refused(files):
    with pytest.raises(ValueError, match=r"inside its \(40, 60\) pixels, got 16 × 16 at \(30, 0\)"):
        LoadTiled()({"image": files[0], "label": 0, "location": [30, 0], "size": [16, 16]})


@pytest.mark.parametrize(("label", "found"), [({}, "None"), ({"label": 2}, "2"), ({"label": [1]}, r"\[1\]")])
def test_a_tile_without_a_label_is_not_a_negative_one(files, label, found):
    with pytest.raises(
        ValueError, match=rf"image\.png: expected the label 0 or 1, or the path of a mask, found {found}"
    ):
        LoadTiled()({"image": files[0], **label})


def test_an_unknown_option_is_refused():
    with pytest.raises(ValueError, match="masks must be one of"):
        LoadTiled(masks="sometimes")


def test_what_is_transparent_is_glass():
    picture = Image.new("RGBA", (2, 1), (200, 100, 150, 255))
    picture.putpixel((1, 0), (0, 0, 0, 0))
    assert np.asarray(to_tile(picture)).tolist() == [[[200, 100, 150], [255, 255, 255]]]
    grey = Image.new("L", (1, 1), 7)
    assert to_tile(grey).getpixel((0, 0)) == (7, 7, 7)


def test_a_tile_of_a_slide_and_its_annotation(tmp_path):
    made = make_slide(tmp_path / "slide.tif", (600, 700))
    corners = np.array([(100, 50), (300, 50), (300, 250), (100, 250)])  # x and y
    write_annotation(tmp_path / "slide.xml", {"Tumor": corners})
    place = {"location": [20, 60], "size": [96, 128], "level": 0}
    item = {"image": str(tmp_path / "slide.tif"), "mask": str(tmp_path / "slide.xml"), "label": 1, **place}
    found = LoadTiled(masks="always")(item)
    whole = LoadTiled()({"image": item["image"], "label": 1, "location": [0, 0], "size": [600, 700], "level": 0})
    assert torch.equal(found["image"].as_tensor(), whole["image"].as_tensor()[:, 60:188, 20:116])
    assert found["mask"][0, 40:, 30:].all()
    assert found["mask"].sum() == (128 - 40) * (96 - 30)
    assert found["image"].meta["region"].tolist() == [20, 60, 96, 128, 0]
    assert made.size == (600, 700)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            {"location": [1360, 0], "size": [64, 64], "level": 0},
            r"inside its \(1400, 1500\) pixels, got 64 × 64 at \(1360, 0\)",
        ),
        ({"location": [-1, 0], "size": [64, 64], "level": 0}, "inside its"),
        ({"location": [1360, 0], "size": [32, 32], "level": 1}, "inside its"),
        ({"location": [0, 0], "size": [64, 64], "level": 9}, "expected a level below 2, got 9"),
    ],
)
def test_a_region_outside_a_slide_is_refused(tmp_path, place, message):
    make_slide(tmp_path / "slide.tif", (1400, 1500))
    with pytest.raises(ValueError, match=message):
        LoadTiled()({"image": str(tmp_path / "slide.tif"), "label": 1, **place})


def test_an_annotation_speaks_of_level_0(tmp_path):
    make_slide(tmp_path / "slide.tif", (1400, 1500))
    write_annotation(tmp_path / "slide.xml", {"Tumor": np.array([(10, 10), (90, 10), (90, 90)])})
    item = {"image": str(tmp_path / "slide.tif"), "mask": str(tmp_path / "slide.xml"), "label": 1}
    with pytest.raises(
        ValueError, match=r"slide\.xml: expected a tile of level 0 beside an annotation, got one of level 1"
    ):
        LoadTiled(masks="always")(item | {"location": [0, 0], "size": [64, 64], "level": 1})
