"""The ladder as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medkd.files import atomic_path
from medkd.ladder.intervals import by_seed, crossed_mean
from medkd.ladder.plan import Ladder

__all__ = ["save_plot"]


def save_plot(ladder: Ladder, scores: pd.DataFrame, path: Path) -> None:
    """For each score a point per rung with the 95 % confidence interval of its mean, and every unit behind it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = ladder.lines
    figure = Figure(figsize=(1.2 * len(names) + 2, 4 * len(ladder.scores)), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, score in zip(figure.subplots(len(ladder.scores), squeeze=False)[:, 0], ladder.scores, strict=True):
        for place, name in enumerate(names):
            _draw(axis, place, by_seed(scores, name, score))
        axis.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
        axis.set_ylabel(ladder.scores[score])
        axis.set_title(f"mean with 95 % confidence interval; grey: {ladder.units}", fontsize=9)
        axis.grid(axis="y", alpha=0.3)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=120)


def _draw(axis: Any, place: int, values: pd.DataFrame) -> None:
    estimate = crossed_mean(values.to_numpy(), list(values.index.get_level_values("patient")))
    low, high = estimate.interval()
    half = (high - low) / 2 if np.isfinite(high - low) else 0.0
    axis.plot(np.full(len(values), place), values.mean(axis=1), ".", color="0.75", zorder=1)
    axis.errorbar(place, estimate.mean, yerr=half, fmt="o", color="#0072b2", capsize=4, zorder=2)
