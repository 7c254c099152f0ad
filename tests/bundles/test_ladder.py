"""A ladder that was killed and run again: what it prints and writes. What the ladder of every bundle leaves: ``test_demo.py``."""

from pathlib import Path

import pytest


@pytest.mark.parametrize("case", ["confkd"], indirect=True)
def test_killed_and_called_again_it_prints_and_writes_its_table(ladder: tuple[Path, str]) -> None:
    root, printed = ladder
    assert all(f"| {cell} |" in printed for cell in ("weak_only", "kl_entropy", "kl_entropy − weak_only"))
    for name in ("ladder.csv", "ladder.md", "ladder.png", "report.html", "patients.csv"):
        assert (root / name).stat().st_size > 0
