"""One transform loads a sound case of every kind of file, or says everything that is wrong with it."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medkd.transforms import LoadCased

ROWS, COLUMNS = np.indices((4, 6))


@pytest.fixture
def volume(tmp_path):
    """An image of 4 × 6 × 3 voxels, and a label with classes 0 to 2 and 255."""
    image = np.arange(72, dtype=np.float32).reshape(4, 6, 3)
    label = (image % 3).astype(np.uint8)
    label[0, 0, 0] = 255
    for name, data in (("image", image), ("label", label)):
        nib.save(nib.Nifti1Image(data, np.diag([2.0, 1.5, 8.0, 1.0])), tmp_path / f"{name}.nii.gz")
    return {key: str(tmp_path / f"{key}.nii.gz") for key in ("image", "label")}


@pytest.fixture
def picture(tmp_path):
    """A picture of 4 rows and 6 columns, its left half transparent, and its mask."""
    pixels = np.stack([ROWS * 10, COLUMNS * 10, ROWS * 0, 255 * (COLUMNS > 2)], -1)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "image.png")
    Image.fromarray((255 * (ROWS > 1)).astype(np.uint8)).save(tmp_path / "mask.png")
    return {"image": str(tmp_path / "image.png"), "mask": str(tmp_path / "mask.png")}


def test_a_volume_keeps_its_affine_and_its_ignored_voxels(volume):
    found = LoadCased(label_keys=["label"], num_classes=3, ignore_values=[255])(volume)
    assert found["image"].shape == found["label"].shape == (1, 4, 6, 3)
    assert found["image"][0, 1, 2, 0] == 24
    assert found["label"].unique().tolist() == [0, 1, 2, 255]
    assert found["image"].pixdim.tolist() == [2.0, 1.5, 8.0]


@pytest.mark.parametrize(("kind", "glass"), [("frame", [20, 0, 0]), ("tile", [255, 255, 255])])
def test_a_picture_has_x_first_and_a_tile_has_white_glass(picture, kind, glass):
    found = LoadCased(kind=kind, label_keys=["mask"])(picture)
    assert found["image"].shape == (3, 6, 4)
    assert found["image"][:, 4, 2].tolist() == [20, 40, 0]
    assert found["image"][:, 0, 2].tolist() == glass
    assert found["mask"].shape == (1, 6, 4)
    assert found["mask"][0, 0].tolist() == [0, 0, 1, 1]


def test_an_absent_label_is_passed_over(volume):
    assert set(LoadCased(label_keys=["label", "weak_label"])({"image": volume["image"]})) == {"image"}


def test_all_missing_files_are_named_at_once(volume):
    with pytest.raises(ValueError, match=r"(?s)nowhere\.nii.*neither\.nii"):
        LoadCased(label_keys=["label"])({"image": "nowhere.nii", "label": "neither.nii"})


def test_a_label_that_is_no_class_is_refused(volume):
    with pytest.raises(ValueError, match=r"label\.nii\.gz.*255"):
        LoadCased(label_keys=["label"], num_classes=3)(volume)


def test_an_image_without_contrast_is_refused_where_it_is_to_be_learned_from(picture, tmp_path):
    Image.new("RGB", (6, 4), (7, 7, 7)).save(tmp_path / "grey.png")
    item = {"image": str(tmp_path / "grey.png")}
    assert LoadCased(kind="frame", contrast=False)(item)["image"].unique().tolist() == [7]
    with pytest.raises(ValueError, match=r"grey\.png"):
        LoadCased(kind="frame")(item)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind must be volume, frame or tile, got 'slide'"):
        LoadCased(kind="slide")
