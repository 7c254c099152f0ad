"""The ladder's result: mean and SD of every rung, and paired differences with confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from medkd.files import atomic_path
from medkd.ladder.plan import Ladder

__all__ = ["Comparison", "cell_dir", "collect", "compare", "render", "rung_table", "save_plot", "write_tables"]


@dataclass(frozen=True)
class Comparison:
    """The difference between two rungs, paired over patients.

    Attributes:
        rung: the rung that is compared.
        against: with which other.
        difference: mean difference, rung minus other.
        low: lower end of the 95 % confidence interval.
        high: upper end of it.
    """

    rung: str
    against: str
    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """In one word, whether the interval excludes 0."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "undecided"


def cell_dir(root: Path, rung: str, seed: int) -> Path:
    """The folder of one rung and seed."""
    return root / rung / f"seed{seed}"


def collect(ladder: Ladder, root: Path, seeds: Sequence[int]) -> pd.DataFrame:
    """One row per rung, seed and patient: the score's mean over the patient's cases and classes.

    Where there are several test sets, the column ``dataset`` names them. The cases of one patient (end-diastole and end-systole, say) are not independent: the patient is the unit.
    """
    parts = []
    for rung in ladder.rungs:
        for seed in seeds:
            cases = pd.read_csv(cell_dir(root, rung, seed) / "eval" / "cases.csv")
            cases = cases[cases["branch"] == ladder.branch]
            unit = ["patient", "dataset"] if "dataset" in cases else ["patient"]
            scores = cases.groupby(unit, as_index=False)[ladder.score].mean()
            parts.append(scores.assign(rung=rung, seed=seed))
    table: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return table


def compare(scores: pd.DataFrame, rung: str, against: str, score: str = "dice") -> Comparison:
    """Paired difference of two rungs over patients, each patient's score averaged over the seeds.

    The interval is that of the paired t-test; with fewer than two patients it is infinite.
    """
    by_patient = scores.groupby(["rung", "patient"])[score].mean()
    first, second = (by_patient[name].sort_index() for name in (rung, against))
    delta = (first - second).to_numpy()
    if len(delta) < 2 or np.allclose(delta, delta[0]):
        width = float("inf") if len(delta) < 2 else 0.0
        return Comparison(rung, against, float(delta.mean()), float(delta.mean() - width), float(delta.mean() + width))
    interval = stats.ttest_rel(first, second).confidence_interval(0.95)
    return Comparison(rung, against, float(delta.mean()), float(interval.low), float(interval.high))


def rung_table(ladder: Ladder, scores: pd.DataFrame) -> pd.DataFrame:
    """One row per rung: mean, SD over patients, SD over seeds, and the difference to the rung before."""
    rows, names = [], list(ladder.rungs)
    for number, rung in enumerate(names):
        own = scores[scores["rung"] == rung]
        row = {
            "rung": rung,
            "mean": own[ladder.score].mean(),
            "sd_patients": own.groupby("patient")[ladder.score].mean().std(),
            "sd_seeds": own.groupby("seed")[ladder.score].mean().std(),
            "seeds": own["seed"].nunique(),
            "patients": own["patient"].nunique(),
        }
        if number:
            step = compare(scores, rung, names[number - 1], ladder.score)
            row |= {"difference": step.difference, "ci_low": step.low, "ci_high": step.high}
        rows.append(row)
    table: pd.DataFrame = pd.DataFrame(rows)
    return table


def render(ladder: Ladder, scores: pd.DataFrame) -> str:
    """The tables as Markdown, which is as readable on a screen; where there are several test sets, for each as well."""
    sections = [_render(ladder, scores, "")]
    names = sorted(scores["dataset"].unique()) if "dataset" in scores else []
    if len(names) > 1:
        sections += [_render(ladder, scores[scores["dataset"] == name], f" of {name}") for name in names]
    return "\n\n".join(sections)


def _render(ladder: Ladder, scores: pd.DataFrame, which: str) -> str:
    table = rung_table(ladder, scores)
    patients, seeds = table["patients"].iloc[0], table["seeds"].iloc[0]
    lines = [
        f"{ladder.score.capitalize()} of the {ladder.branch}, {patients} test {ladder.unit}{which}, {seeds} seed(s)",
        "",
        f"| rung | mean ± SD over {ladder.unit} | SD over seeds | difference to the rung before [95 % CI] |",
        "|---|---|---|---|",
    ]
    for row in table.to_dict("records"):
        change = (
            "" if pd.isna(row.get("difference", np.nan)) else _signed(row["difference"], row["ci_low"], row["ci_high"])
        )
        spread = "" if pd.isna(row["sd_seeds"]) else f"{row['sd_seeds']:.3f}"
        lines.append(f"| {row['rung']} | {row['mean']:.3f} ± {row['sd_patients']:.3f} | {spread} | {change} |")
    claims = [compare(scores, rung, other, ladder.score) for rung, others in ladder.claims.items() for other in others]
    if claims:
        lines += ["", "| claim | difference [95 % CI] | verdict |", "|---|---|---|"]
        lines += [f"| {c.rung} − {c.against} | {_signed(c.difference, c.low, c.high)} | {c.verdict} |" for c in claims]
    return "\n".join(lines)


def write_tables(ladder: Ladder, scores: pd.DataFrame, root: Path) -> list[Path]:
    """Write ``ladder.csv``, ``patients.csv``, ``ladder.md`` and ``ladder.png``; return their paths."""
    for name, table in (("ladder.csv", rung_table(ladder, scores)), ("patients.csv", scores)):
        with atomic_path(root / name) as partial:
            table.to_csv(partial, index=False, float_format="%.6f")
    with atomic_path(root / "ladder.md") as partial:
        partial.write_text(render(ladder, scores) + "\n", encoding="utf-8")
    save_plot(ladder, scores, root / "ladder.png")
    return [root / name for name in ("ladder.csv", "patients.csv", "ladder.md", "ladder.png")]


def save_plot(ladder: Ladder, scores: pd.DataFrame, path: Path) -> None:
    """A point per rung with the 95 % confidence interval of its mean, and every patient behind it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(ladder.rungs)
    figure = Figure(figsize=(1.2 * len(names) + 2, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    by_patient = scores.groupby(["rung", "patient"])[ladder.score].mean()
    for place, name in enumerate(names):
        values = by_patient[name].to_numpy()
        half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values) if len(values) > 1 else 0.0
        axis.plot(np.full(len(values), place), values, ".", color="0.75", zorder=1)
        axis.errorbar(place, values.mean(), yerr=half, fmt="o", color="#0072b2", capsize=4, zorder=2)
    axis.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
    axis.set_ylabel(f"{ladder.score} of the {ladder.branch}")
    axis.set_title(f"mean with 95 % confidence interval; grey: {ladder.unit}", fontsize=9)
    axis.grid(axis="y", alpha=0.3)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=120)


def _signed(difference: float, low: float, high: float) -> str:
    return f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"
