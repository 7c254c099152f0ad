"""What trainings cost: how long each took, kept in its folder, and how two rungs compare."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from medkd.files import atomic_path

__all__ = ["kept_minutes", "minutes", "ratios", "timed"]

_FILE = "training_seconds.txt"


@contextmanager
def timed(folder: Path, *, begun: bool) -> Iterator[None]:
    """Add how long this takes to what is kept in a training's folder, whether it ends, fails or is stopped.

    Args:
        folder: of the training.
        begun: whether there was a part of it before. If nothing is kept of that, because its process vanished or nobody
            measured it, the sum would be too small, and nothing is kept of the whole training.
    """
    kept = folder / _FILE
    before = 0.0 if not begun else _seconds(kept)
    kept.unlink(missing_ok=True)
    started = time.monotonic()
    try:
        yield
    finally:
        if before is not None:
            with atomic_path(kept) as partial:
                partial.write_text(f"{before + time.monotonic() - started:.3f}\n", encoding="ascii")


def kept_minutes(folder: Path) -> float:
    """How long a training took; NaN where nobody knows."""
    seconds = _seconds(folder / _FILE)
    return float("nan") if seconds is None else seconds / 60


def _seconds(kept: Path) -> float | None:
    return float(kept.read_text(encoding="ascii")) if kept.is_file() else None


def minutes(scores: pd.DataFrame) -> pd.DataFrame:
    """How long the trainings took: a row per seed and a column per rung, NaN where nobody knows.

    Args:
        scores: as ``collect`` gives them.
    """
    timed = scores if "minutes" in scores else scores.assign(minutes=float("nan"))
    table: pd.DataFrame = timed.pivot_table(index="seed", columns="rung", values="minutes", dropna=False)
    return table


def ratios(table: pd.DataFrame, rungs: Sequence[str], others: Sequence[str]) -> pd.Series[float]:
    """How many times as long some rungs' trainings took as others', for each seed of which all are known."""
    known = table.reindex(columns=list(dict.fromkeys([*rungs, *others]))).dropna()
    shorter = known[list(others)].sum(axis=1)
    found: pd.Series[float] = (known[list(rungs)].sum(axis=1) / shorter)[shorter > 0]
    return found
