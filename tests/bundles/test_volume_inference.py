"""Volume in, volume out: the geometry and the format of the input come back."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from medkd.infer import infer_study

from ..dicom.conftest import datasets, write
from ..dicom.conftest import volume as slices_of_a_series
from ..dicom.test_series import FAULTS
from .conftest import Case

pytestmark = pytest.mark.parametrize("case", ["confkd"], indirect=True)

OBLIQUE = np.array([[1.2, -0.5, 0.9, -40.0], [0.6, 1.3, -1.1, 22.0], [-0.1, 0.4, 7.8, 5.0], [0, 0, 0, 1.0]])


def _infer(case: Case, trained: Path, study: Path, out: Path) -> np.ndarray:
    case.run(["inference.yaml"], dataset_dir=study, output_dir=out, model_path=trained / "models" / "model.pt")
    (result,) = out.glob("*_seg.nii.gz")
    return nib.load(result)


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(45, 38, 3)).astype(np.float32)


@pytest.mark.parametrize("pixdim", [[-1, -1, -1], [2.0, 2.0, -1]])
def test_oblique_volume_of_three_slices_keeps_shape_affine_and_labels(
    case: Case, trained: Path, tmp_path: Path, volume: np.ndarray, pixdim: list
) -> None:
    study = tmp_path / "oblique.nii.gz"
    nib.save(nib.Nifti1Image(volume, OBLIQUE), study)
    content = torch.load(trained / "models" / "model.pt", weights_only=True)
    (tmp_path / "models").mkdir()
    torch.save({**content, "settings": {**content["settings"], "pixdim": pixdim}}, tmp_path / "models" / "model.pt")
    result = _infer(case, tmp_path, study, tmp_path / "out")
    assert result.shape == volume.shape
    np.testing.assert_allclose(result.affine, OBLIQUE, atol=1e-4)
    assert result.get_data_dtype() == np.uint8
    assert set(np.unique(result.dataobj)) <= {0, 1, 2, 3}


@pytest.mark.parametrize("pixdim", [[-1, -1, -1], [1.7, 1.7, -1]])
def test_units_and_geometry_of_an_oblique_anisotropic_image_are_kept_exactly(
    case: Case, trained: Path, tmp_path: Path, volume: np.ndarray, pixdim: list
) -> None:
    """As scanners have it: turned about two axes, thick slices, and here in microns."""
    study = tmp_path / "study.nii.gz"
    about_x, about_z = np.deg2rad(27.0), np.deg2rad(-33.0)
    turn = np.array([[1, 0, 0], [0, np.cos(about_x), -np.sin(about_x)], [0, np.sin(about_x), np.cos(about_x)]])
    turn = turn @ np.array([[np.cos(about_z), -np.sin(about_z), 0], [np.sin(about_z), np.cos(about_z), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * [0.7, 1.3, 9.6], [-31.7, 18.9, 4.3]
    image = nib.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("micron", "sec")
    nib.save(image, study)
    content = torch.load(trained / "models" / "model.pt", weights_only=True)
    (tmp_path / "models").mkdir()
    torch.save({**content, "settings": {**content["settings"], "pixdim": pixdim}}, tmp_path / "models" / "model.pt")
    result = _infer(case, tmp_path, study, tmp_path / "out")
    assert result.shape == volume.shape
    assert result.header.get_xyzt_units() == ("micron", "sec")
    np.testing.assert_array_equal(result.get_sform(), nib.load(study).affine)
    np.testing.assert_allclose(result.get_qform(), nib.load(study).affine, atol=1e-5)
    np.testing.assert_allclose(result.header.get_zooms(), nib.load(study).header.get_zooms(), rtol=1e-6)


def test_label_map_is_the_network_s_argmax(case: Case, trained: Path, tmp_path: Path, volume: np.ndarray) -> None:
    """Against the network called by hand on one window, without MONAI's inferer or inverse transforms."""
    from medkd.networks import DualBranchUNet, checkpoints

    image = volume[:32, :32]
    study = tmp_path / "plain.nii.gz"
    nib.save(nib.Nifti1Image(image, np.eye(4)), study)
    result = np.asarray(_infer(case, trained, study, tmp_path / "out").dataobj)
    network = DualBranchUNet(2, 1, 4, case.settings["network_def#channels"])
    checkpoints.load_model(trained / "models" / "model.pt", network).eval()
    normal = torch.from_numpy((image - image.mean()) / image.std())
    with torch.no_grad():
        expected = network(normal.permute(2, 0, 1)[:, None]).argmax(1).permute(1, 2, 0).numpy()
    assert (result == expected).mean() > 0.999


def test_dicom_series_gives_the_mask_of_its_nifti_conversion(
    case: Case, trained: Path, tmp_path: Path, shared: Path
) -> None:
    series = shared / "data" / "dicom" / "torchio_series"
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    sitk.WriteImage(reader.Execute(), str(tmp_path / "series.nii.gz"))
    from_dicom = _infer(case, trained, series, tmp_path / "dicom")
    from_nifti = _infer(case, trained, tmp_path / "series.nii.gz", tmp_path / "nifti")
    np.testing.assert_array_equal(np.asarray(from_dicom.dataobj), np.asarray(from_nifti.dataobj))
    np.testing.assert_allclose(from_dicom.affine, from_nifti.affine, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"student": {}}, "expected {\"model\": state_dict}, found the keys ['student']"),
        ({"model": {"other": torch.zeros(1)}}, "expected the weights of DualBranchUNet, found others"),
    ],
)
def test_checkpoint_that_does_not_fit_is_refused(
    case: Case, tmp_path: Path, volume: np.ndarray, content: dict, message: str
) -> None:
    torch.save(content, tmp_path / "model.pt")
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "image.nii.gz")
    done = case.run(
        ["inference.yaml"],
        check=False,
        dataset_dir=tmp_path / "image.nii.gz",
        output_dir=tmp_path / "out",
        model_path=tmp_path / "model.pt",
    )
    assert done.returncode
    assert message in done.stderr
    assert not list((tmp_path / "out").glob("*"))


def test_four_dimensional_image_is_refused(case: Case, trained: Path, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.random.default_rng(0).random((16, 16, 3, 5)), np.eye(4)), tmp_path / "cine.nii.gz")
    done = case.run(
        ["inference.yaml"],
        check=False,
        dataset_dir=tmp_path / "cine.nii.gz",
        output_dir=tmp_path / "out",
        model_path=trained / "models" / "model.pt",
    )
    assert done.returncode
    assert "cine.nii.gz: expected a 3D image of one channel, found 16 × 16 × 3 × 5" in done.stdout + done.stderr


@FAULTS
def test_a_series_that_is_no_volume_is_refused_by_the_bundle_as_by_medkd_infer(
    case: Case, trained: Path, tmp_path: Path, break_it, message: str
) -> None:
    slices = datasets(slices_of_a_series())
    break_it(slices)
    write(tmp_path / "study", slices)
    with pytest.raises(ValueError, match=message) as refused:
        infer_study(case.bundle, tmp_path / "study", tmp_path / "seg.dcm")
    model = trained / "models" / "model.pt"
    files = {"dataset_dir": tmp_path / "study", "output_dir": tmp_path / "out", "model_path": model}
    done = case.run(["inference.yaml"], check=False, **files)
    assert done.returncode
    assert str(refused.value) in done.stdout + done.stderr
    assert not list(tmp_path.rglob("*_seg*"))
