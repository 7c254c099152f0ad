"""Bad input is refused with a message that names the file, what was expected and what was found."""

import re

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from medkd.transforms import CheckCased, CheckFilesd
from medkd.transforms.checks import file_problem


def tensor(values, name, affine=None):
    return MetaTensor(values, affine=np.eye(4) if affine is None else affine, meta={"filename_or_obj": name})


def case(**changes):
    """A good item of 4 × 5 × 3 pixels and 3 classes, with changes."""
    values = torch.arange(60.0).reshape(1, 4, 5, 3)
    item = {
        "image": tensor(values, "case1.nii.gz"),
        "label": tensor(values % 3, "case1_label.nii.gz"),
        "weak_label": tensor(torch.where(values % 4 == 0, values % 3, 255), "case1_weak.nii.gz"),
    }
    return item | changes


def check(item, **options):
    return CheckCased("image", **{"label_keys": ("label", "weak_label"), "num_classes": 3} | options)(item)


def write_slice(path, series, position=None):
    """A DICOM file of 4 × 5 pixels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    if series:
        dataset.SeriesInstanceUID = series
    if position is not None:
        dataset.ImagePositionPatient = [0, 0, position]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.InstanceNumber = position + 1
    dataset.Rows, dataset.Columns = 4, 5
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    return folder


def test_an_existing_file_and_a_folder_of_one_series_pass(tmp_path, folder):
    (tmp_path / "scan.nii.gz").touch()
    for number in range(2):
        write_slice(folder / f"{number}.dcm", "1.2.3", position=number)
    (folder / "notes.txt").write_text("no DICOM file, passed over " * 10)
    item = {"image": tmp_path / "scan.nii.gz", "label": str(folder), "patient": 1}
    assert CheckFilesd(["image", "label"])(item) == item


def test_missing_paths_are_all_named(tmp_path):
    first, second = tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"
    expected = "; ".join(f"{path}: expected a file or a DICOM folder, found nothing there" for path in (first, second))
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        CheckFilesd(["image", "label"])({"image": first, "label": second})


def test_a_folder_of_two_series_is_refused(folder):
    for number, series in enumerate(["1.2.3", "1.2.3", "1.2.4"]):
        write_slice(folder / f"{number}.dcm", series)
    expected = f"{folder}: expected a folder with one DICOM series, found 2 series with [1, 2] files"
    with pytest.raises(ValueError, match=re.escape(expected)):
        CheckFilesd("image")({"image": folder})


def test_a_series_of_several_phases_is_refused(folder):
    for number in range(6):
        write_slice(folder / f"{number}.dcm", "1.2.3", position=8 * (number % 3))
    expected = (
        f"{folder}: expected a DICOM series with one slice at a position, found 6 slices at 3 positions; split the "
        "phases into folders"
    )
    assert file_problem(folder) == expected
    for number in range(3, 6):
        (folder / f"{number}.dcm").unlink()
    assert file_problem(folder) is None


def test_a_series_with_a_gap_is_refused(folder):
    for number in (0, 1, 2, 4):
        write_slice(folder / f"{number}.dcm", "1.2.3", position=8 * number)
    with pytest.raises(ValueError, match=r"expected slices every 8\.00 mm, found 16\.00 mm after slice 3 of 4"):
        CheckFilesd("image")({"image": folder})


@pytest.mark.parametrize("content", ["nothing", "text", "DICOM without a series"])
def test_a_folder_without_a_series_is_refused(folder, content):
    if content == "text":
        (folder / "notes.txt").write_text("no DICOM file " * 20)
    elif content != "nothing":
        write_slice(folder / "report.dcm", None)
    expected = f"{folder}: expected a folder with one DICOM series, found no DICOM file"
    with pytest.raises(ValueError, match=re.escape(expected)):
        CheckFilesd("image")({"image": folder})


def test_an_absent_key_is_an_error_unless_it_is_allowed(tmp_path):
    with pytest.raises(KeyError, match="label"):
        CheckFilesd(["label"])({"patient": 1})
    assert CheckFilesd(["label"], allow_missing_keys=True)({"patient": 1}) == {"patient": 1}


def test_a_good_item_passes_unchanged():
    item = case()
    found = check(item)
    assert found.keys() == item.keys()
    assert all(found[key] is item[key] for key in item)


def test_absent_labels_and_plain_tensors_pass():
    plain = {key: value.as_tensor() for key, value in case().items()}
    del plain["weak_label"]
    assert check(plain).keys() == {"image", "label"}


def test_a_two_dimensional_image_passes_where_it_is_expected():
    image = tensor(torch.rand(1, 4, 5), "flat.png")
    assert check({"image": image}, spatial_dims=2)["image"] is image
    with pytest.raises(ValueError, match=r"^flat\.png: expected a 3D image of one channel, found 4 × 5 × 1 \("):
        check({"image": image})


@pytest.mark.parametrize(("shape", "found"), [((7, 4, 5, 3), "4 × 5 × 3 × 7"), ((1, 4, 5, 3, 2), "4 × 5 × 3 × 2 × 1")])
def test_a_4d_image_is_refused(shape, found):
    image = tensor(torch.rand(shape), "series.nii.gz")
    with pytest.raises(ValueError, match=rf"^series\.nii\.gz: expected a 3D image of one channel, found {found} \("):
        check({"image": image})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_intensities_that_are_not_finite_are_counted(bad):
    values = torch.rand(1, 4, 5, 3)
    values[0, 0, :2, 0] = bad
    with pytest.raises(ValueError, match=r"^scan\.nii: expected finite intensities, found 2 that are NaN or infinite$"):
        check({"image": tensor(values, "scan.nii")})


def test_a_constant_image_is_refused():
    image = tensor(torch.full((1, 4, 5, 3), 2.5), "flat.nii")
    with pytest.raises(ValueError, match=r"^flat\.nii: expected an image with contrast, found the constant 2\.5$"):
        check({"image": image})


def test_a_label_of_another_shape_is_refused():
    label = tensor(torch.ones(1, 4, 5, 2), "small.nii")
    with pytest.raises(ValueError, match=r"^small\.nii: expected the shape of its image 4 × 5 × 3, found 4 × 5 × 2$"):
        check(case(label=label))


def test_a_label_of_another_geometry_is_refused():
    moved = np.eye(4)
    moved[0, 3] = 1.5
    label = tensor(case()["label"].as_tensor(), "moved.nii", moved)
    expected = (
        "moved.nii: expected the geometry (affine) of its image case1.nii.gz, found another: [[1.0, 0.0, 0.0, 1.5]"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}"):
        check(case(label=label))


def test_a_geometry_that_differs_by_rounding_passes():
    near = np.eye(4) + 5e-4
    item = case(label=tensor(case()["label"].as_tensor(), "near.nii", near))
    assert check(item)["label"] is item["label"]


def test_label_values_outside_the_classes_are_named():
    values = case()["label"].as_tensor().clone()
    values[0, 0, 0] = torch.tensor([7.0, 3.0, 1.5])
    expected = "odd.nii: expected the labels [0, 1, 2] or [255] (ignored), found 1.5, 3, 7"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        check(case(label=tensor(values, "odd.nii")))


def test_another_ignored_value_may_be_named():
    values = case()["weak_label"].as_tensor()
    item = {"image": case()["image"], "label": tensor(torch.where(values == 255, 4, values), "four.nii")}
    assert check(item, ignore_values=(4,))["label"] is item["label"]
    with pytest.raises(ValueError, match=r"four\.nii: .*found 4$"):
        check(item)


def test_a_label_with_nothing_annotated_is_refused():
    label = tensor(torch.full((1, 4, 5, 3), 255), "void.nii")
    expected = "void.nii: expected an annotated pixel, found only ignored ones ([255])"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        check(case(weak_label=label))


def test_all_problems_of_an_item_come_at_once():
    item = case(
        image=tensor(torch.zeros(1, 4, 5, 3), "flat.nii"),
        label=tensor(torch.full((1, 4, 5, 2), 9), "bad.nii"),
        weak_label=tensor(torch.full((1, 4, 5, 3), 255), "void.nii"),
    )
    with pytest.raises(ValueError, match=r"^flat\.nii: .*; bad\.nii: .*shape.*; bad\.nii: .*found 9; void\.nii: "):
        check(item)
