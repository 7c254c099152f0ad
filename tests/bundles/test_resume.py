"""The same seed gives the same student, and so does a training that was killed and continued."""

import signal
import subprocess
import time
from pathlib import Path

import torch

from .conftest import Case, environment


def _weights(root: Path) -> dict[str, torch.Tensor]:
    """The best student, and the network after the last epoch: the best may be older than a stop."""
    (last,) = sorted(root.glob("checkpoints/epoch=*.pt"))[-1:]
    best = torch.load(root / "models" / "model.pt", weights_only=True)["model"]
    return best | {f"last {k}": v for k, v in torch.load(last, weights_only=True)["network"].items()}


def identical(first: Path, second: Path) -> bool:
    one, two = _weights(first), _weights(second)
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_same_seed_gives_bitidentical_students(case: Case, trained: Path, tmp_path: Path) -> None:
    case.train(tmp_path)
    assert identical(trained, tmp_path)


def test_another_seed_gives_another_student(case: Case, trained: Path, tmp_path: Path) -> None:
    case.train(tmp_path, seed=1)
    assert not identical(trained, tmp_path)


def test_killed_and_resumed_training_gives_the_same_student(case: Case, trained: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        case.command(["train.yaml"], **case.training(tmp_path)),
        cwd=case.bundle,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("checkpoints/epoch=0001.pt.sha256")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "checkpoints" / "epoch=0003.pt").exists(), "it was killed too late to tell anything"
    resumed = case.train(tmp_path, resume="true")
    assert "Resumed after epoch" in resumed.stdout
    assert identical(trained, tmp_path)
