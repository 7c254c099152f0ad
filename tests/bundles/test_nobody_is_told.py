"""A clinic's machine tells nobody what runs on it: no library that reports its use by default does so in medkd's programs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Case

# Python runs a module of this name at its start. Children that are forked listen too.
LISTENER = r"""
import os, sys

def heard(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    with open(os.environ["HEARD"], "a") as file:
        file.write(f"{host}\n")

sys.addaudithook(heard)
"""
AT_HOME = {"127.0.0.1", "::1", "localhost", "0.0.0.0", "None"}


@pytest.fixture
def heard(tmp_path: Path) -> dict[str, str]:
    """The environment of a user, with a listener: some libraries report nothing in tests and in CI."""
    (tmp_path / "listener").mkdir()
    (tmp_path / "listener" / "sitecustomize.py").write_text(LISTENER)
    unknown = ("PYTEST", "MLFLOW", "MEDKD", "CI", "GITHUB", "GITLAB", "JENKINS", "DO_NOT_TRACK")
    own = {key: value for key, value in os.environ.items() if not key.startswith(unknown)}
    home = {"HOME": str(tmp_path / "home"), "HEARD": str(tmp_path / "heard.txt")}
    return {**own, **home, "PYTHONPATH": str(tmp_path / "listener"), "OMP_NUM_THREADS": "1"}


def _hosts(heard: dict[str, str]) -> set[str]:
    found = Path(heard["HEARD"])
    return set(found.read_text().split()) - AT_HOME if found.exists() else set()


def _run(command: list[str], heard: dict[str, str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, env=heard, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_listener_hears(heard: dict[str, str], tmp_path: Path) -> None:
    code = "import os, socket\nif not os.fork():\n    try: socket.getaddrinfo('somebody.invalid', 443)\n    except OSError: pass"
    _run([sys.executable, "-c", code + "\nelse: os.wait()"], heard, tmp_path)
    assert _hosts(heard) == {"somebody.invalid"}


@pytest.mark.parametrize("case", ["confkd"], indirect=True)
def test_a_tracked_training_and_an_inference_are_private(
    case: Case, exported: dict[str, tuple[Path, str]], heard: dict[str, str], tmp_path: Path
) -> None:
    _run(
        case.command(["train.yaml"], **case.training(tmp_path / "run", tracking="configs/tracking.yaml")),
        heard,
        case.bundle,
    )
    assert (tmp_path / "run" / "eval" / "mlruns.db").is_file()
    bundle = exported["onnx"][0].parents[1]
    given = {"--dataset_dir": case.data / "images", "--output_dir": tmp_path / "out", "--runtime": "openvino"}
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.yaml"]
    _run([*command, *(str(word) for pair in given.items() for word in pair)], heard, bundle)
    assert list((tmp_path / "out").iterdir())
    assert _hosts(heard) == set()
