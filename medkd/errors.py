"""The error of data that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["DataError"]


class DataError(ValueError):
    """All the problems of a dataset, one a line."""

    def __init__(self, source: str | Path, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{source}: {len(self.problems)} problem(s)\n{lines}")
