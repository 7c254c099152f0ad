"""What was measured, as text."""

from __future__ import annotations

import pandas as pd

__all__ = ["render", "summary"]

_ONE = ["network", "runtime", "precision"]


def summary(measured: pd.DataFrame) -> pd.DataFrame:
    """Medians over cases and rounds, a row per candidate, in the order in which they were given; peaks are the largest."""
    numbers = {"seconds": "median", "warm": "median", "peak": "max", "area": "median"}
    fixed = dict.fromkeys(
        [key for key in ("file", "parameters", "macs", "metric", "score") if key in measured], "first"
    )
    lines: pd.DataFrame = measured.groupby(_ONE, sort=False).agg({**numbers, **fixed}).reset_index()
    return lines


def render(measured: pd.DataFrame) -> str:
    """A table in Markdown; times are also given as ratios to the first line."""
    lines = summary(measured)
    metric = [str(lines["metric"][0])] if "score" in lines else []
    heads = [
        *_ONE,
        "s per case, with start",
        "s, warm",
        "× as fast, warm",
        "peak MiB",
        "MiB·s",
        "file MB",
        "parameters",
        "GMACs",
    ]
    rows = [
        [
            *(str(line[key]) for key in _ONE),
            *(f"{line['seconds']:.2f}", f"{line['warm']:.3f}", f"{lines['warm'][0] / line['warm']:.1f}"),
            *(f"{line['peak']:.0f}", f"{line['area']:.0f}", f"{line['file']:.1f}"),
            *(f"{line['parameters']:,}", f"{line['macs'] / 1e9:.2f}"),
            *([f"{line['score']:.4f}"] if metric else []),
        ]
        for _, line in lines.iterrows()
    ]
    table = [[*heads, *metric], ["---"] * (len(heads) + len(metric)), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in table)
