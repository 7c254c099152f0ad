"""A student that learns from a layer of its teacher: its training, a stop, and that a plain network is left of it."""

import shutil
from pathlib import Path

import pytest
import torch
from monai.networks.nets import BasicUNet

from medkd.bundle.validation import key_score

from .conftest import Case
from .test_resume import identical

LAYERS = {"student_layer": "upcat_1", "teacher_layer": "upcat_1", "feature_channels": 16}
FEATURES = {"pixel_weight": 0, "feature_weight": 50, **LAYERS}
pytestmark = pytest.mark.parametrize("case", ["compact"], indirect=True)


@pytest.fixture(scope="module")
def taught(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("taught")
    case.train(root, **FEATURES)
    return root


def _saves(root: Path) -> list[dict[str, torch.Tensor]]:
    return [torch.load(path, weights_only=True)["network"] for path in sorted(root.glob("checkpoints/epoch=*.pt"))]


def test_what_brings_the_maps_together_learns_and_is_not_deployed(taught: Path) -> None:
    *_, before, last = _saves(taught)
    assert last["adapter.weight"].shape == (16, 8, 1, 1)
    assert not torch.equal(before["adapter.weight"], last["adapter.weight"])
    student = torch.load(taught / "models" / "model.pt", weights_only=True)["model"]
    BasicUNet(2, 1, 4, (8, 8, 16, 32, 64, 8)).load_state_dict(student)


def test_stopped_after_an_epoch_it_leaves_the_same(case: Case, taught: Path, tmp_path: Path) -> None:
    shutil.copytree(taught, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.glob("checkpoints/epoch=0003.pt*"):
        path.unlink()
    case.train(tmp_path, resume="true", **FEATURES)
    assert identical(taught, tmp_path)


def test_its_student_is_scored_as_any_other(case: Case, taught: Path) -> None:
    case.run(["train.yaml", "evaluate.yaml"], **case.training(taught, **FEATURES))
    assert len((taught / "eval" / "cases.csv").read_text().splitlines()) == 1 + case.scores


def test_a_teacher_in_files_has_no_layers(case: Case, taught: Path, tmp_path: Path) -> None:
    done = case.train(tmp_path, teacher_dir=case.data / "labels", check=False, **FEATURES)
    assert done.returncode
    assert "no teacher_dir" in done.stderr


def test_what_validates_or_deploys_needs_no_teacher(case: Case, taught: Path, tmp_path: Path) -> None:
    shutil.copytree(case.bundle / "configs", tmp_path / "configs")
    shutil.copytree(taught / "models", tmp_path / "models")
    settings = {**case.settings, "teacher_path": tmp_path / "nowhere.pt", "dataset_dir": str(case.data)}
    found = key_score(tmp_path, settings)
    assert found is not None
    assert 0 <= found[1] <= 1
