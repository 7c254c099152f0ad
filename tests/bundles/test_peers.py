"""ConfKD's peers, from the ladder's table to the student that they leave: one like any other."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from monai.bundle import ConfigParser

from medkd.export import export_bundle
from medkd.ladder import Ladder, load_ladder, run_ladder
from medkd.networks import DualBranchUNet, load_model

from ..cases import ROOT, Case
from ..helpers import run_bundle
from ..methods.confkd import case as confkd

PEERS = ["mean_teacher", "cross_pseudo_supervision"]
BUNDLE = ROOT / "bundles" / "confkd_cardiac_mri_segmentation"
_WEIGHT = 100.0  # of the consistency, so large that a loss of float32 shows a thousandth of it
CHANNELS = [4, 8]  # of a recipe or a command line, not those of train.yaml


@pytest.fixture(scope="module")
def heart(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return confkd(tmp_path_factory.mktemp("heart"))


def _run(ladder: Ladder, heart: Case, root: Path) -> pd.DataFrame:
    short = {"max_epochs": 2, "ramp_up": 1.0, "progress": False}
    overrides = {**heart.settings, "network_def#channels": CHANNELS, **short}
    ladder = replace(ladder, rungs={name: {**rung, "kl_weight": _WEIGHT} for name, rung in ladder.rungs.items()})
    return run_ladder(ladder, root, dataset_dir=heart.data, overrides=overrides, progress=False)


@pytest.fixture(scope="module")
def ladder() -> Ladder:
    return load_ladder(BUNDLE, PEERS)


@pytest.fixture(scope="module")
def ran(heart: Case, ladder: Ladder, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """A ladder of both: its folder and its scores."""
    root = tmp_path_factory.mktemp("peers") / "ladder"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return root, _run(ladder, heart, root)


def test_confkd_is_compared_with_both() -> None:
    assert set(PEERS) <= set(load_ladder(BUNDLE).claims["kl_entropy"])


@pytest.mark.parametrize(
    "recipe",
    [
        {"network_def#channels": CHANNELS},
        {"network_def": {"_target_": "medkd.networks.DualBranchFlexibleUNet", "in_channels": 1, "out_channels": 4}},
    ],
    ids=["channels", "another network"],
)
@pytest.mark.parametrize("rung", PEERS)
def test_a_recipe_s_network_is_theirs_and_they_start_as_the_other_rungs_do(
    rung: str, recipe: dict[str, object], ladder: Ladder
) -> None:
    def start(overrides: Mapping[str, object]) -> torch.nn.Module:
        parser = ConfigParser()
        parser.read_config(BUNDLE / "configs" / "train.yaml")
        parser.update({"device": "cpu", **recipe, **copy.deepcopy(dict(overrides))})
        torch.manual_seed(0)
        return parser.get_parsed_content("network")

    network, expected = start(ladder.rungs[rung]).train(), start({}).state_dict()
    found = network.module.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    output = network(torch.zeros(2, 1, 32, 32))
    assert output.student.shape == output.teacher.shape == (2, 4, 32, 32)


def test_both_are_trained_with_a_weight_that_rises_and_scored(ran: tuple[Path, pd.DataFrame], ladder: Ladder) -> None:
    root, scores = ran
    assert scores.groupby("rung")["unit"].nunique().to_dict() == dict.fromkeys(PEERS, 2)
    client = MlflowClient(f"sqlite:///{root / 'mlruns.db'}")
    runs = {
        run.info.run_name: run.info.run_id
        for run in client.search_runs([e.experiment_id for e in client.search_experiments()])
    }
    for rung in PEERS:
        (run_id,) = [run_id for name, run_id in runs.items() if name.startswith(f"{rung}-seed0")]
        loss, pce, consistency = (
            [point.value for point in sorted(client.get_metric_history(run_id, f"train/{name}"), key=lambda p: p.step)]
            for name in ("loss", "pce", "consistency")
        )
        assert [a - b for a, b in zip(loss, pce, strict=True)] == pytest.approx(
            [_WEIGHT / 2 * consistency[0], _WEIGHT * consistency[1]], rel=1e-3
        )


def test_the_ladder_is_as_it_was_read(ran: tuple[Path, pd.DataFrame], ladder: Ladder) -> None:
    """MONAI replaces the macro of a rung; the cells of other seeds, and the next call, need it."""
    assert ladder.rungs == load_ladder(BUNDLE, PEERS).rungs


@pytest.mark.parametrize("rung", PEERS)
def test_the_student_is_one_of_the_kind_that_the_ladder_trains(ran: tuple[Path, pd.DataFrame], rung: str) -> None:
    """And the better one of its training: the average of a mean teacher, the first of two networks."""
    cell = ran[0] / rung / "seed0"
    settings = torch.load(cell / "models" / "model.pt", weights_only=True)["settings"]
    assert settings["network_def"]["_target_"] == "medkd.networks.DualBranchUNet"
    assert settings["network_def"]["channels"] == CHANNELS
    student = load_model(cell / "models" / "model.pt", DualBranchUNet(2, 1, 4, CHANNELS)).state_dict()
    saves = [torch.load(path, weights_only=True)["network"] for path in sorted(cell.glob("checkpoints/epoch=*.pt"))]
    deployed = [{key: save[f"module.{key}"] for key in student} for save in saves]
    assert any(all(torch.equal(save[key], student[key]) for key in student) for save in deployed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rung", PEERS)
def test_the_student_is_applied_and_exported_without_telling(
    heart: Case, ran: tuple[Path, pd.DataFrame], rung: str, tmp_path: Path
) -> None:
    model = ran[0] / rung / "seed0" / "models" / "model.pt"
    images = {"dataset_dir": heart.data / "images", "output_dir": tmp_path / "out"}
    run_bundle([BUNDLE / "configs" / "inference.yaml"], model_path=model, **images)
    assert len(list((tmp_path / "out").iterdir())) == len(list((heart.data / "images").iterdir()))
    report = export_bundle(
        BUNDLE, format="torchscript", images=heart.data / "images", model_path=model, output=tmp_path / "student.ts"
    )
    assert report.inputs > 0


def test_the_same_training_stopped_after_an_epoch_leaves_the_same(
    heart: Case, ladder: Ladder, ran: tuple[Path, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a stop in the second epoch leaves: the first one's save, and no scores."""
    root, _ = ran
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    expected = {}
    for rung in PEERS:
        cell = root / rung / "seed0"
        last = cell / "checkpoints" / "epoch=0002.pt"
        expected[rung] = torch.load(last, weights_only=True)
        for path in (last, last.with_name(f"{last.name}.sha256"), cell / "eval" / "cases.csv"):
            path.unlink()
    _run(ladder, heart, root)
    for rung in PEERS:
        cell = root / rung / "seed0"
        assert "Resumed after epoch 1" in (cell / "log.txt").read_text()
        found = torch.load(cell / "checkpoints" / "epoch=0002.pt", weights_only=True)["network"]
        wanted = expected[rung]["network"]
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)
