"""``medkd collection`` on DICOM studies: what ``medkd infer`` writes of each."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom import dcmread

from medkd.bundle import copy_bundle
from medkd.cli import main
from medkd.infer import infer_study

from ..dicom.conftest import datasets, volume, write
from ..serving.conftest import small_copy
from .test_slides import told


@pytest.fixture(scope="module")
def heart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_copy("confkd_cardiac_mri_segmentation", tmp_path_factory.mktemp("bundle"))


def test_a_study_that_is_refused_is_told_and_the_others_are_segmented(
    heart: Path, scheduler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "studies", tmp_path / "out"
    for number, name in enumerate(("1.2.3", "1.2.4")):
        write(source / name, datasets(volume() // (number + 1)))
    lacking = datasets(volume())
    del lacking[2]
    write(source / "1.2.5", lacking)
    command = ["collection", str(heart), str(source), str(out), "--scheduler", scheduler, "--device", "cpu"]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert told(printed.out) == [2, 0, 1]
    assert "studies: 1 problem(s)\n" in printed.err
    assert "a slice may be missing" in printed.err.splitlines()[-1]
    assert {path.name for path in out.glob("*.dcm")} == {"1.2.3.dcm", "1.2.4.dcm"}
    for name in ("1.2.3", "1.2.4"):
        infer_study(heart, source / name, tmp_path / "seg.dcm")
        found, expected = (dcmread(path).pixel_array for path in (out / f"{name}.dcm", tmp_path / "seg.dcm"))
        assert np.array_equal(found, expected)
    shutil.rmtree(source / "1.2.5")
    assert main(command) == 0
    assert told(capsys.readouterr().out) == [0, 2, 0]


def test_a_segmentation_of_other_slices_is_not_taken_for_the_study_s(
    heart: Path, scheduler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders are called 1, 2, 3 in the next batch too; and a transfer may have lacked the last slices."""
    source, out = tmp_path / "studies", tmp_path / "out"
    early = datasets(volume())
    write(source / "1", early[:-1])
    command = ["collection", str(heart), str(source), str(out), "--scheduler", scheduler, "--device", "cpu"]
    assert main(command) == 0
    before = (out / "1.dcm").read_bytes()
    write(source / "1", early)
    assert main(command) == 1
    assert f"found that of {len(early) - 1}, of which {len(early) - 1} are the same" in capsys.readouterr().err
    shutil.rmtree(source / "1")
    write(source / "1", datasets(volume()))
    assert main(command) == 1
    assert "of which 0 are the same" in capsys.readouterr().err
    assert (out / "1.dcm").read_bytes() == before


def test_another_student_does_not_mix_with_what_is_there(
    heart: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from medkd.collection.studies import claim_folder

    claim_folder(tmp_path / "out", heart, None, None)
    claim_folder(tmp_path / "out", heart, "pytorch", "fp32")
    other = shutil.copytree(heart, tmp_path / "other")
    student = torch.load(other / "models" / "model.pt", weights_only=True)
    torch.save({**student, "run": "another"}, other / "models" / "model.pt")
    write(tmp_path / "studies" / "one", datasets(volume()))
    assert main(["collection", str(other), str(tmp_path / "studies"), str(tmp_path / "out")]) == 1
    assert "expected segmentations by this student, found those by another" in capsys.readouterr().err


def test_what_is_no_collection_is_told(
    heart: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "studies" / "one", datasets(volume()))
    for arguments, message in {
        (str(heart), str(tmp_path / "empty")): "expected folders in it, of one DICOM series each, found none",
        (str(bundle), str(tmp_path / "empty")): "expected a slide or a folder of",
        (str(copy_bundle("kdas", tmp_path / "polyp")), str(tmp_path / "studies")): "found one for pictures",
        (str(heart), str(tmp_path / "studies"), "--set", "a=1"): "--set: expected none for DICOM studies",
    }.items():
        place, source, *more = arguments
        assert main(["collection", place, source, str(tmp_path / "out"), *more]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
