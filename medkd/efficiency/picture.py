"""Accuracy against latency: what is on the line is beaten by nothing in both."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medkd.efficiency.table import summary
from medkd.files import atomic_path

__all__ = ["pareto", "save_picture"]

_MARKERS = "os^Dv<>P*X"


def pareto(lines: pd.DataFrame) -> pd.DataFrame:
    """Of a summary the rows that no other beats in ``warm`` seconds and ``score`` alike, the fastest first."""
    ordered = lines.sort_values(["warm", "score"], ascending=[True, False])
    best: pd.DataFrame = ordered[ordered["score"] > ordered["score"].cummax().shift(fill_value=float("-inf"))]
    return best


def save_picture(measured: pd.DataFrame, path: Path) -> None:
    """Write the picture as PNG.

    Args:
        measured: of ``compare``, with scores.
        path: the file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    lines = summary(measured)
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    best = pareto(lines)
    axis.plot(1e3 * best["warm"], best["score"], color="0.7", zorder=1)
    for number, (name, group) in enumerate(lines.groupby("network", sort=False)):
        axis.scatter(1e3 * group["warm"], group["score"], marker=_MARKERS[number % len(_MARKERS)], label=name, zorder=2)
        for place, (_, line) in enumerate(group.sort_values("warm").iterrows()):
            text = " ".join([line["runtime"], *([line["precision"]] if line["precision"] != "fp32" else [])])
            height = 8 + 11 * (place % 3)  # what is close in both lies side by side
            offset = (0, -height - 6 if number % 2 else height)
            axis.annotate(
                text, (1e3 * line["warm"], line["score"]), offset, textcoords="offset points", fontsize=8, ha="center"
            )
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_formatter(ScalarFormatter())
    axis.margins(0.15)
    axis.set_xlabel("milliseconds per case, once it runs")
    axis.set_ylabel(f"{lines['metric'][0]} on the validation images")
    axis.legend()
    axis.grid(alpha=0.3)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
