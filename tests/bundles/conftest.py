"""Each bundle, trained for seconds."""

import contextlib
import io
import os
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medkd.bundle.runtimes import exported_path
from medkd.cli import main
from medkd.export import FORMATS

from ..cases import Case
from ..methods.method import methods


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    return {**kept, "OMP_NUM_THREADS": "1", **more}


METHODS = {name.partition("_")[0]: method for name, method in methods().items()}


@pytest.fixture(scope="session", params=list(METHODS))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return METHODS[request.param].case(tmp_path_factory.mktemp("case"))


TIMES = int(os.environ.get("MEDKD_FAULTS", "1"))  # how often each fault happens: `make test-faults` has more
Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def program(tools: Path) -> Program:
    """Runs a command line with one of the tools to its end."""

    def run(command: list[str], *, cwd: Path | None = None, **variables: Any) -> subprocess.CompletedProcess[str]:
        name = "medkd" if command[0] == "medkd" else "python"
        own = environment(**{key: str(value) for key, value in variables.items()})
        return subprocess.run([tools / name, *command[1:]], capture_output=True, text=True, env=own, cwd=cwd)

    return run


@pytest.fixture(scope="session")
def trained(case: Case, program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a finished training, tracked with the bundle's own settings: the command line as a user has it."""
    root = tmp_path_factory.mktemp("trained")
    command = case.command(["train.yaml"], **case.training(root, tracking="configs/tracking.yaml"))
    done = program(command, cwd=case.bundle)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return root


@pytest.fixture(scope="session")
def ladder(case: Case, tools: Path, program: Program, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """ConfKD's, killed in its second cell and run again: its folder and what the second call printed."""
    root, rungs = tmp_path_factory.mktemp("ladder"), ("weak_only", "kl_entropy")
    pairs = [f"{key}={value}" for key, value in case.settings.items() if key != "progress"]
    command = ["medkd", "ladder", str(case.bundle), "--dataset_dir", str(case.data), "--output_dir", str(root)]
    command += ["--rungs", *rungs, "--seeds", "0", "--set", *pairs]
    first, last = (root / rung / "seed0" for rung in rungs)
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([tools / "medkd", *command[1:]], env=environment(), **quiet)
    deadline = time.monotonic() + 600  # a busy machine
    try:
        while not (last / "checkpoints" / "epoch=0001.pt.sha256").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    finished = (first / "models" / "model.pt").stat().st_mtime_ns
    done = program(command)
    assert done.returncode == 0, done.stderr
    assert (first / "models" / "model.pt").stat().st_mtime_ns == finished, "a cell ran twice"
    assert "Resumed after epoch" in (last / "log.txt").read_text()
    return root, done.stdout


def with_student(case: Case, trained: Path, folder: Path) -> Path:
    """A copy of the bundle as it is shipped, with a student of other settings."""
    shutil.copytree(case.bundle / "configs", folder / "bundle" / "configs")
    shutil.copytree(trained / "models", folder / "bundle" / "models")
    return folder / "bundle"


@pytest.fixture(scope="session")
def exported(case: Case, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """The student in every format, each by one command: the file, and what the command printed."""
    made, own = {}, with_student(case, trained, tmp_path_factory.mktemp("exported"))
    for form in FORMATS:
        path = exported_path(own / "models" / "model.pt", form)
        command = ["export", str(own), "--format", form, "--images", str(case.data / "images"), "--output", str(path)]
        with contextlib.redirect_stdout(io.StringIO()) as printed, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracers and exporters warn of themselves
            assert main(command) == 0
        made[form] = path, printed.getvalue()
    return made
