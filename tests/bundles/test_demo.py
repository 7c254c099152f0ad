"""The demo as a newcomer runs it, whole: minutes, but it is the first thing that anybody sees of medkd."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, environment

# For each method rungs from the worst to the best, and the student that is shown. How much KDAS gains over the student
# alone in a minute of training is within the noise: the order that is sure is that of the large and the compact network.
ORDER = {
    "confkd": (["weak_only", "decoupled", "kl_entropy", "full_supervision"], "kl_entropy"),
    "kdas": (["kdas", "teacher"], "kdas"),
    "ikdmil": (["all_foreground", "mil_teacher", "role_switch", "full_supervision"], "role_switch"),
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=list(ORDER))
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, str]:
    root = tmp_path_factory.mktemp("demo") / "out"
    command = [sys.executable, "-m", "medkd.cli", "demo", "--method", request.param]
    command += ["--bundles", str(ROOT / "bundles"), "--output_dir", str(root)]
    variables = environment()
    del variables["OMP_NUM_THREADS"]
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr[-3000:]
    return request.param, root, done.stdout


def test_rungs_come_in_their_order(demo: tuple[str, Path, str]) -> None:
    method, root, _ = demo
    with (root / "ladder" / "ladder.csv").open() as file:
        rows = list(csv.DictReader(file))
    means = {row["rung"]: float(row["mean"]) for row in rows if row["score"] == rows[0]["score"]}
    order = [means[rung] for rung in ORDER[method][0]]
    assert order == sorted(order), means


def test_demo_says_where_everything_is(demo: tuple[str, Path, str]) -> None:
    method, root, printed = demo
    student = f"ladder/{ORDER[method][1]}/seed0/models/model.pt"
    for path in (student, "overlay.png", "ladder/ladder.png", "ladder/mlruns.db"):
        assert str(root / path) in printed
        assert (root / path).stat().st_size > 0
    assert "mlflow ui" in printed.replace("bin/mlflow", "mlflow")
