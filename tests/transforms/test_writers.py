"""NIfTI files appear whole or not at all."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import SaveImaged

from medkd.transforms import AtomicNibabelWriter


def test_an_array_is_written_with_its_geometry(tmp_path):
    writer, affine = AtomicNibabelWriter(output_dtype=np.uint8), np.diag([1.5, 2.0, 8.0, 1.0])
    writer.set_data_array(np.arange(24).reshape(2, 3, 4), channel_dim=None)
    writer.set_metadata({"affine": torch.as_tensor(affine)}, resample=False)
    writer.write(tmp_path / "new" / "mask.nii.gz")
    image = nib.load(tmp_path / "new" / "mask.nii.gz")
    assert np.array_equal(image.get_fdata(), np.arange(24).reshape(2, 3, 4))
    assert image.get_data_dtype() == np.uint8
    assert np.allclose(np.abs(image.affine), np.abs(affine))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mask.nii.gz"]


@pytest.mark.parametrize(("found", "written"), [({"xyzt_units": np.array(11)}, 11), ({}, 2), ({"xyzt_units": 0}, 0)])
def test_the_units_are_those_of_the_image_and_millimetres_for_dicom(tmp_path, found, written):
    writer = AtomicNibabelWriter(output_dtype=np.uint8)
    writer.set_data_array(np.zeros((2, 3, 4)), channel_dim=None)
    writer.set_metadata({"affine": torch.eye(4), **found}, resample=False)
    writer.write(tmp_path / "mask.nii.gz")
    assert int(nib.load(tmp_path / "mask.nii.gz").header["xyzt_units"]) == written


def test_save_image_takes_it_as_its_writer(tmp_path):
    values = torch.arange(24.0).reshape(1, 2, 3, 4)
    item = {"pred": MetaTensor(values, affine=torch.eye(4), meta={"filename_or_obj": "scan.nii.gz"})}
    save = SaveImaged(
        "pred", output_dir=tmp_path, writer=AtomicNibabelWriter, separate_folder=False, resample=False, print_log=False
    )
    save(item)
    assert [path.name for path in tmp_path.iterdir()] == ["scan_trans.nii.gz"]
    assert np.array_equal(nib.load(tmp_path / "scan_trans.nii.gz").get_fdata(), values[0].numpy())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "mask.nii.gz"
    target.write_bytes(b"the old one")
    writer = AtomicNibabelWriter()
    writer.set_data_array(np.full((2, 3, 4), "text"), channel_dim=None)  # nibabel cannot write text
    with pytest.raises(ValueError, match="could not convert string to float"):
        writer.write(target)
    assert [path.name for path in tmp_path.iterdir()] == ["mask.nii.gz"]
    assert target.read_bytes() == b"the old one"


def test_a_write_that_cannot_be_renamed_leaves_nothing_behind(tmp_path):
    (tmp_path / "mask.nii.gz" / "inside").mkdir(parents=True)
    writer = AtomicNibabelWriter()
    writer.set_data_array(np.zeros((2, 3, 4), dtype=np.float32), channel_dim=None)
    writer.set_metadata({"affine": torch.eye(4)}, resample=False)
    with pytest.raises(OSError, match=r"mask\.nii\.gz"):
        writer.write(tmp_path / "mask.nii.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["mask.nii.gz"]
