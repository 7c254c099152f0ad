"""The demo as a newcomer runs it, whole: minutes, but it is the first thing that anybody sees of medkd."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, environment


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("demo") / "out"
    command = [sys.executable, "-m", "medkd.cli", "demo", "--bundles", str(ROOT / "bundles"), "--output_dir", str(root)]
    variables = environment()
    del variables["OMP_NUM_THREADS"]
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr[-3000:]
    return root, done.stdout


@pytest.mark.slow
def test_rungs_come_in_their_order(demo: tuple[Path, str]) -> None:
    root, _ = demo
    with (root / "ladder" / "ladder.csv").open() as file:
        means = {row["rung"]: float(row["mean"]) for row in csv.DictReader(file)}
    assert means["weak_only"] < means["decoupled"] <= means["kl_entropy"] <= means["full_supervision"]


@pytest.mark.slow
def test_demo_says_where_everything_is(demo: tuple[Path, str]) -> None:
    root, printed = demo
    for path in ("ladder/kl_entropy/seed0/models/model.pt", "overlay.png", "ladder/ladder.png", "ladder/mlruns.db"):
        assert str(root / path) in printed
        assert (root / path).stat().st_size > 0
    assert "mlflow ui" in printed.replace("bin/mlflow", "mlflow")
