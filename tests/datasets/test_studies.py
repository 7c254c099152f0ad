"""What inference runs on, found under a path."""

import re

import pytest

from medkd.datasets import find_studies
from medkd.datasets.studies import find_frames, output_name

DICOM = b"\0" * 128 + b"DICM" + b"\0" * 20


def write(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def found(path):
    studies = find_studies(path)
    assert all(study.keys() == {"image"} for study in studies)
    return [study["image"] for study in studies]


def test_a_file_is_itself(tmp_path):
    path = write(tmp_path / "scan.nii.gz")
    assert found(path) == found(str(path)) == [str(path)]


def test_a_folder_of_nifti_files_gives_them_sorted_and_nothing_else(tmp_path):
    for name in ("b.nii.gz", "a.nii", ".hidden.nii.gz", "notes.txt", "c.nii.gz.part"):
        write(tmp_path / name, b"text")
    assert found(tmp_path) == [str(tmp_path / "a.nii"), str(tmp_path / "b.nii.gz")]


@pytest.mark.parametrize(
    ("name", "content"), [("IM0001", DICOM), ("1.dcm", b""), ("1.IMA", b"an old one without preamble")]
)
def test_a_dicom_folder_is_one_study_by_preamble_or_extension(tmp_path, name, content):
    write(tmp_path / name, content)
    write(tmp_path / "notes.txt", b"short")
    assert found(tmp_path) == [str(tmp_path)]


def test_a_folder_of_dicom_folders_and_files_gives_all_of_them(tmp_path):
    for name in ("second", "first"):
        write(tmp_path / name / "IM1", DICOM)
        write(tmp_path / name / "IM2", DICOM)
    write(tmp_path / "volume.nii.gz")
    write(tmp_path / "reports" / "report.txt", b"DICM is not at its place " * 20)
    (tmp_path / "empty").mkdir()
    assert found(tmp_path) == [str(tmp_path / name) for name in ("volume.nii.gz", "first", "second")]


def test_a_path_that_does_not_exist_is_named(tmp_path):
    path = tmp_path / "absent"
    expected = f"{path}: expected a NIfTI file, a DICOM folder or a folder of them, found nothing there"
    with pytest.raises(FileNotFoundError, match=re.escape(expected)):
        find_studies(path)


def test_a_folder_without_an_image_is_named(tmp_path):
    write(tmp_path / "notes.txt", b"nothing to see")
    expected = f"{tmp_path}: expected .nii, .nii.gz or DICOM files, found none"
    with pytest.raises(FileNotFoundError, match=re.escape(expected)):
        find_studies(tmp_path)


def test_studies_whose_results_would_have_one_name_are_refused(tmp_path):
    for name in ("a.nii", "a.nii.gz", "b.nii.gz"):
        write(tmp_path / name)
    expected = f"{tmp_path}: expected studies of different names, or one result would replace another: "
    with pytest.raises(ValueError, match=re.escape(expected)) as caught:
        find_studies(tmp_path)
    assert "b.nii.gz" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "subject"),
    [("x/scan.nii.gz", "scan.nii"), ("x/scan.nii", "scan.nii"), ("x/1.2.840.5", "1.2.840.5.nii"), ("x/a.b", "a.b.nii")],
)
def test_the_result_of_a_folder_has_its_whole_name(path, subject):
    assert output_name({"filename_or_obj": path}) == {"subject": subject, "idx": None}


def test_a_slide_is_no_frame(tmp_path):
    (tmp_path / "slide.svs").touch()
    with pytest.raises(ValueError, match=r"slide\.svs: expected an image file .*slides\.yaml.*, found another file"):
        find_frames(tmp_path / "slide.svs")
