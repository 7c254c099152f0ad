"""A ladder of a real bundle: from the command line to MLflow's user interface, in a real browser."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from medkd.cli import main
from medkd.ladder import where_to_look

from ..helpers import free_port
from .conftest import Case, environment


def _command(case: Case, root: Path) -> list[str]:
    pairs = [f"{key}={value}" for key, value in case.settings.items() if key != "progress"]
    command = [sys.executable, "-m", "medkd.cli", "ladder", str(case.bundle), "--dataset_dir", str(case.data)]
    return [*command, "--output_dir", str(root), "--rungs", *case.rungs, "--seeds", "0", "--set", *pairs]


@pytest.fixture(scope="module")
def ladder(case: Case, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A ladder that was killed in its second cell and run again: its folder and what the second call printed."""
    root = tmp_path_factory.mktemp("ladder")
    first, last = (root / rung / "seed0" for rung in (case.rungs[0], case.rungs[-1]))
    process = subprocess.Popen(
        _command(case, root), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not (last / "checkpoints" / "epoch=0001.pt.sha256").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = (first / "models" / "model.pt").stat().st_mtime_ns
    done = subprocess.run(_command(case, root), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (first / "models" / "model.pt").stat().st_mtime_ns == finished, "a cell ran twice"
    assert "Resumed after epoch" in (last / "log.txt").read_text()
    return root, done.stdout


def test_ladder_prints_and_writes_its_table(case: Case, ladder: tuple[Path, str]) -> None:
    root, printed = ladder
    assert all(f"| {rung} |" in printed for rung in case.rungs)
    assert f"| {case.claim} |" in printed
    for name in ("ladder.csv", "ladder.md", "ladder.png", "report.html", "patients.csv"):
        assert (root / name).stat().st_size > 0


def test_cells_are_children_of_one_run(case: Case, ladder: tuple[Path, str]) -> None:
    root, _ = ladder
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlruns.db'}")
    experiment = next(e for e in client.search_experiments() if e.name != "Default")
    runs = client.search_runs(experiment.experiment_id)
    (parent,) = [run for run in runs if run.data.tags.get("medkd.kind") == "ladder"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    names = [f"{rung}-seed0-{parent.info.run_name[-6:]}" for rung in sorted(case.rungs)]
    assert sorted(run.info.run_name for run in children) == names
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    assert {artifact.path for artifact in client.list_artifacts(parent.info.run_id)} >= {
        "ladder.png",
        "ladder.csv",
        "report.html",
    }
    child = next(run for run in children if run.info.run_name.startswith(f"{case.rungs[-1]}-seed0"))
    assert set(case.terms) <= child.data.metrics.keys()
    for run in children:  # what counts stands beside the scores of the validation
        assert f"test/{case.key_metric.removeprefix('val_')}" in run.data.metrics
        assert "test/cases.csv" in {artifact.path for artifact in client.list_artifacts(run.info.run_id, "test")}
    assert "medkd.model_id" in child.data.tags  # its student can be deployed, and is not registered
    assert child.data.tags["medkd.digest.test"] == children[0].data.tags["medkd.digest.test"]
    assert list(client.search_registered_models()) == []
    assert "overlays" in {artifact.path for artifact in client.list_artifacts(child.info.run_id)}


def test_its_report_has_every_part(case: Case, ladder: tuple[Path, str], tmp_path: Path) -> None:
    """What the bundle's evaluation keeps is what the report reads: nothing that a ladder leaves is missing."""
    root, _ = ladder
    assert main(["report", str(root), "--output", str(tmp_path / "report.html")]) == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "which tell nothing about patients" in text
    assert "Kept:" in text  # the epochs of the learning curves
    absent = re.findall(r'class="absent soft">([^<]+)', text)
    assert [one for one in absent if "medkd efficiency" not in one] == []
    assert text.count("<article") == text.count('class="panels"') > 0


@contextlib.contextmanager
def _ui(store: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", f"sqlite:///{store}", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--workers", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(address, timeout=1)  # the server we started
                break
            time.sleep(0.5)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _page(address: str, profile: Path) -> str:
    """The text of a page once its scripts have run, in headless Chromium."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}"]
    flags += ["--virtual-time-budget=30000", "--window-size=1500,1000"]
    command = [str(shutil.which("chromium")), *flags, "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return done.stdout


# The pages are MLflow's: what of ours is in them differs by name alone, which the test above sees for every bundle.
@pytest.mark.parametrize("case", ["confkd"], indirect=True)
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_user_interface_shows_the_ladder(case: Case, ladder: tuple[Path, str], tmp_path: Path) -> None:
    root, _ = ladder
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlruns.db'}")
    experiment = next(e for e in client.search_experiments() if e.name != "Default")
    runs = client.search_runs(experiment.experiment_id)
    child = next(run for run in runs if run.info.run_name.startswith(f"{case.rungs[-1]}-seed0"))
    with _ui(root / "mlruns.db") as address:
        base = f"{address}/#/experiments/{experiment.experiment_id}"
        _, page = where_to_look(root)
        assert "ladder-" in _page(page.replace("http://127.0.0.1:5000", address), tmp_path / "1")
        run = _page(f"{base}/runs/{child.info.run_id}", tmp_path / "2")
        assert all(term in run for term in case.terms)
        assert "overlays" in _page(f"{base}/runs/{child.info.run_id}/artifacts", tmp_path / "3")
