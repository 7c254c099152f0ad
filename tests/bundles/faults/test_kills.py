"""A training that is killed again and again, at whatever moment, ends as one that never was: to the last bit."""

import random
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch

from medkd.files import sha256

from ..conftest import TIMES, Case, Program
from ..test_resume import identical

KILLED = -9 % 256  # SIGKILL, as the exit status of a program


@pytest.fixture(scope="session")
def moments(case: Case, trained: Path, program: Program, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many a training has."""
    root = tmp_path_factory.mktemp("counted")
    done = _run(program, case, root, KILL_AT=0, MOMENTS=root / "moments")
    assert done.returncode == 0, done.stderr
    assert identical(trained, root)
    return int((root / "moments").read_text())


def _run(program: Program, case: Case, root: Path, *, resume: str = "false", **variables: Any) -> Any:
    settings = case.training(root, tracking="configs/tracking.yaml", resume=resume)
    return program(case.command(["train.yaml"], **settings), cwd=case.bundle, **variables)


def _nothing_half(root: Path) -> None:
    """What is there under its name is whole."""
    for digest in root.glob("checkpoints/**/epoch=*.pt.sha256"):
        save = digest.with_suffix("")
        assert digest.read_text().strip() == sha256(save)
        torch.load(save, weights_only=True)
    for student in root.glob("models/[!.]*.pt"):  # a hidden one is a half, and goes when the training goes on
        torch.load(student, weights_only=True)


def _status(root: Path) -> list[str]:
    client = mlflow.MlflowClient(f"sqlite:///{root / 'eval' / 'mlruns.db'}")
    experiment = next(e for e in client.search_experiments() if e.name != "Default")
    return [run.info.status for run in client.search_runs([experiment.experiment_id])]


def test_killed_at_any_moment(case: Case, trained: Path, program: Program, moments: int, tmp_path: Path) -> None:
    chance, killed = random.Random(case.bundle.name), []
    for number in range(TIMES):
        at = chance.randint(1, moments)
        done = _run(program, case, tmp_path, resume=str(number > 0).lower(), KILL_AT=at)
        assert done.returncode in (0, KILLED), f"moment {at} of {moments}: {done.stderr}"
        killed += [at] if done.returncode else []
        _nothing_half(tmp_path)
    done = _run(program, case, tmp_path, resume="true")
    assert done.returncode == 0, f"after moments {killed} of {moments}: {done.stderr}"
    assert killed
    assert identical(trained, tmp_path), f"killed at moments {killed} of {moments}"
    assert _status(tmp_path) == ["FINISHED"]
    halves = [path for path in tmp_path.rglob(".*") if path.name != ".lock"]
    assert not halves


def test_the_clock_jumps_back_a_day(case: Case, trained: Path, program: Program, moments: int, tmp_path: Path) -> None:
    chance = random.Random(case.bundle.name)
    at = chance.randint(1, moments)
    done = _run(program, case, tmp_path, CLOCK_AT=at, KILL_AT=chance.randint(at, moments))
    assert done.returncode in (0, KILLED), done.stderr
    done = _run(program, case, tmp_path, resume="true", CLOCK_AT=1)
    assert done.returncode == 0, done.stderr
    assert identical(trained, tmp_path)
    assert _status(tmp_path) == ["FINISHED"]
