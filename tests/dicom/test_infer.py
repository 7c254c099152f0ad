"""``medkd infer``: the segmentation object says what the bundle's own inference says, and others can read it."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

from medkd.cli import main
from medkd.dicom import read_series, write_segmentation
from medkd.infer import infer_study

from ..helpers import by_dcmqi, on_the_series, run_bundle
from ..serving.conftest import small_copy
from .conftest import COLUMNS, PATIENT, ROWS, SLICES, datasets, volume, write

NAMES = ["right ventricle", "myocardium", "left ventricle"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return small_copy("confkd_cardiac_mri_segmentation", tmp_path_factory.mktemp("bundle"))


def by_the_bundle(bundle: Path, series: Path, out: Path) -> np.ndarray:
    """Its own inference, ``[columns, rows, slices]``."""
    run_bundle([bundle / "configs" / "inference.yaml"], bundle_root=bundle, dataset_dir=series, output_dir=out)
    (path,) = out.glob("*.nii.gz")
    return nib.load(path)


def test_the_segmentation_is_what_the_bundle_s_own_inference_writes(bundle, series, tmp_path):
    report = infer_study(bundle, series, tmp_path / "seg.dcm")
    image = by_the_bundle(bundle, series, tmp_path / "out")
    expected = np.asarray(image.dataobj)
    assert report.slices == SLICES
    assert report.voxels == {name: int((expected == n).sum()) for n, name in enumerate(NAMES, 1)}
    import highdicom

    read = highdicom.seg.segread(tmp_path / "seg.dcm")
    uids = [s.SOPInstanceUID for s in read_series(series).slices]
    found = read.get_pixels_by_source_instance(uids, combine_segments=True)
    inverse = np.linalg.inv(image.affine)
    for number, dataset in enumerate(read_series(series).slices):
        k = round((inverse @ [*(np.array([-1, -1, 1]) * dataset.ImagePositionPatient), 1])[2])
        assert np.array_equal(found[number].T, expected[:, :, k])


def test_a_third_party_reader_overlays_it_on_the_image(bundle, series, tmp_path):
    """dcmqi's converter, and SimpleITK's reader of the series."""
    infer_study(bundle, series, tmp_path / "seg.dcm")
    mask, codes = by_dcmqi(tmp_path / "seg.dcm", tmp_path / "itk")
    own = Path(by_the_bundle(bundle, series, tmp_path / "out").get_filename())
    assert np.array_equal(on_the_series(mask, series), on_the_series(own, series))
    assert codes == ["49848007", "53085002", "87878005"]


def test_references_terms_and_algorithm(bundle, series, tmp_path):
    infer_study(bundle, series, tmp_path / "seg.dcm")
    found, source = dcmread(tmp_path / "seg.dcm"), read_series(series).slices
    (referenced,) = found.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == source[0].SeriesInstanceUID
    assert {i.ReferencedSOPInstanceUID for i in referenced.ReferencedInstanceSequence} == {
        s.SOPInstanceUID for s in source
    }
    assert (found.StudyInstanceUID, found.PatientID) == (source[0].StudyInstanceUID, PATIENT["PatientID"])
    assert found.FrameOfReferenceUID == source[0].FrameOfReferenceUID
    assert [s.SegmentLabel for s in found.SegmentSequence] == NAMES
    assert {s.SegmentAlgorithmType for s in found.SegmentSequence} == {"AUTOMATIC"}
    assert found.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "0.1.0"


def test_the_command_says_what_it_wrote_and_never_whose(bundle, series, tmp_path, capsys, caplog):
    with caplog.at_level("DEBUG"):
        assert main(["infer", str(bundle), str(series), "--output", str(tmp_path / "seg.dcm"), "--device", "cpu"]) == 0
    printed = capsys.readouterr()
    assert f"a segmentation of {SLICES} slices" in printed.out
    assert "left ventricle: " in printed.out
    for value in PATIENT.values():
        assert value not in printed.out + printed.err + caplog.text


def test_a_study_that_is_refused_leaves_no_file(bundle, tmp_path, capsys):
    slices = datasets(volume())
    del slices[2]
    write(tmp_path / "study", slices)
    assert main(["infer", str(bundle), str(tmp_path / "study"), "--output", str(tmp_path / "out" / "seg.dcm")]) == 1
    assert "a slice may be missing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_bundle_for_pictures_is_refused(series, tmp_path):
    bundle = small_copy("ikdmil_histology_segmentation", tmp_path)
    with pytest.raises(ValueError, match="expected a bundle for volumes, found one for pictures"):
        infer_study(bundle, series, tmp_path / "seg.dcm")


def test_a_mask_on_another_grid_is_refused(series, tmp_path):
    mask = np.zeros((COLUMNS, ROWS, SLICES), np.uint8)
    with pytest.raises(ValueError, match="expected a mask on the grid of its series, 45 × 38 pixels"):
        write_segmentation(mask, np.eye(4), read_series(series), tmp_path / "seg.dcm", labels={"heart": 1})


def test_what_an_anonymiser_took_away_is_empty(bundle, tmp_path):
    slices = datasets(volume())
    for one in slices:
        del one.PatientBirthDate, one.StudyID, one.PatientName
    write(tmp_path / "study", slices)
    infer_study(bundle, tmp_path / "study", tmp_path / "seg.dcm")
    assert dcmread(tmp_path / "seg.dcm").PatientBirthDate == ""


def test_a_header_that_is_not_valid_is_refused_without_its_value(bundle, tmp_path, capsys):
    slices = datasets(volume())
    for one in slices:
        one.PatientSex = "PLANTED"
    write(tmp_path / "study", slices)
    assert main(["infer", str(bundle), str(tmp_path / "study"), "--output", str(tmp_path / "seg.dcm")]) == 1
    printed = "".join(capsys.readouterr())
    assert "expected headers that a DICOM segmentation can repeat, found one that it cannot" in printed
    assert "PLANTED" not in printed
    assert not (tmp_path / "seg.dcm").exists()
