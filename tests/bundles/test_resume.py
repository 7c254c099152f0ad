"""The same seed gives the same student, another seed another."""

from pathlib import Path

import torch

from .conftest import Case


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
