"""A clinic's machine tells nobody what runs on it: no library that reports its use by default does so in medkd's programs."""

import subprocess
import sys
from pathlib import Path

import pytest

from ..listener import listening, of_a_user, told
from .conftest import Case


@pytest.fixture
def user(tmp_path: Path) -> dict[str, str]:
    """The environment of a user, with a listener."""
    mine = {key: value for key, value in of_a_user().items() if not key.startswith(("MLFLOW", "MEDKD"))}
    return {**mine, **listening(tmp_path), "OMP_NUM_THREADS": "1"}


def _run(command: list[str], user: dict[str, str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, env=user, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_listener_hears_what_a_child_asks(user: dict[str, str], tmp_path: Path) -> None:
    child = "if not os.fork():\n    try: socket.getaddrinfo('somebody.invalid', 443)\n    except OSError: pass\nelse: os.wait()"
    _run([sys.executable, "-c", f"import os, socket\n{child}"], user, tmp_path)
    assert told(user) == {"somebody.invalid"}


@pytest.mark.parametrize("case", ["confkd"], indirect=True)
def test_a_tracked_training_and_an_inference_are_private(
    case: Case, exported: dict[str, tuple[Path, str]], user: dict[str, str], tmp_path: Path
) -> None:
    training = case.training(tmp_path / "run", tracking="configs/tracking.yaml")
    _run(case.command(["train.yaml"], **training), user, case.bundle)
    assert (tmp_path / "run" / "eval" / "mlruns.db").is_file()
    given = {"--dataset_dir": case.data / "images", "--output_dir": tmp_path / "out", "--runtime": "openvino"}
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.yaml"]
    _run([*command, *(str(word) for pair in given.items() for word in pair)], user, exported["onnx"][0].parents[1])
    assert list((tmp_path / "out").iterdir())
    assert told(user) == set()
