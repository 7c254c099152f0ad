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
    """One row per rung, seed and patient (or other unit): each score's mean over the patient's cases and classes.

    Where there are several test sets, the column ``dataset`` names them. The cases of one patient (end-diastole and
    end-systole, say) are not independent: the patient is the unit. The zero line, if there is one, is a rung too.
    """
    parts = []
    for seed in seeds:
        for rung in ladder.rungs:
            cases = pd.read_csv(cell_dir(root, rung, seed) / "eval" / ladder.table)
            if ladder.zero_line and rung == next(iter(ladder.rungs)):
                parts.append(_per_unit(ladder, cases, ladder.zero_line).assign(rung=ladder.zero_line, seed=seed))
            parts.append(_per_unit(ladder, cases, ladder.branch).assign(rung=rung, seed=seed))
    table: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return table


def _per_unit(ladder: Ladder, cases: pd.DataFrame, branch: str) -> pd.DataFrame:
    unit = [ladder.unit, *(["dataset"] if "dataset" in cases else [])]
    means: pd.DataFrame = cases[cases["branch"] == branch].groupby(unit, as_index=False)[list(ladder.scores)].mean()
    return means


def compare(scores: pd.DataFrame, rung: str, against: str, score: str = "dice", *, unit: str = "patient") -> Comparison:
    """Paired difference of two rungs over patients, each patient's score averaged over the seeds.

    The interval is that of the paired t-test; with fewer than two patients it is infinite. Patients to whom the score
    does not apply are left out.
    """
    by_patient = scores.groupby(["rung", unit])[score].mean()
    first, second = (by_patient[name].sort_index() for name in (rung, against))
    delta = (first - second).dropna().to_numpy()
    mean = float(delta.mean()) if len(delta) else float("nan")
    if len(delta) < 2 or np.allclose(delta, delta[0]):
        width = float("inf") if len(delta) < 2 else 0.0
        return Comparison(rung, against, mean, mean - width, mean + width)
    interval = stats.ttest_1samp(delta, 0).confidence_interval(0.95)
    return Comparison(rung, against, mean, float(interval.low), float(interval.high))


def rung_table(ladder: Ladder, scores: pd.DataFrame) -> pd.DataFrame:
    """One row per score and rung: mean, SD over patients, SD over seeds, and the difference to the rung before."""
    rows = []
    for score in ladder.scores:
        for before, rung in zip([None, *ladder.lines], ladder.lines, strict=False):
            own = scores[(scores["rung"] == rung) & scores[score].notna()]
            row = {
                "score": score,
                "rung": rung,
                "mean": own[score].mean(),
                "sd_patients": own.groupby(ladder.unit)[score].mean().std(),
                "sd_seeds": own.groupby("seed")[score].mean().std(),
                "seeds": own["seed"].nunique(),
                "patients": own[ladder.unit].nunique(),
            }
            if before:
                step = compare(scores, rung, before, score, unit=ladder.unit)
                row |= {"difference": step.difference, "ci_low": step.low, "ci_high": step.high}
            rows.append(row)
    table: pd.DataFrame = pd.DataFrame(rows)
    return table


def render(ladder: Ladder, scores: pd.DataFrame) -> str:
    """The tables as Markdown, which is as readable on a screen; where there are several test sets, for each as well."""
    sets = {"": scores}
    names = sorted(scores["dataset"].unique()) if "dataset" in scores else []
    if len(names) > 1:
        sets |= {f" of {name}": scores[scores["dataset"] == name] for name in names}
    return "\n\n".join(_render(ladder, part, which, score) for which, part in sets.items() for score in ladder.scores)


def _render(ladder: Ladder, scores: pd.DataFrame, which: str, score: str) -> str:
    table = rung_table(ladder, scores)
    table = table[table["score"] == score]
    patients, seeds = table["patients"].iloc[0], table["seeds"].iloc[0]
    lines = [
        f"{ladder.scores[score]} of the {ladder.branch}, {patients} test {ladder.units}{which}, {seeds} seed(s)",
        "",
        f"| rung | mean ± SD over {ladder.units} | SD over seeds | difference to the rung before [95 % CI] |",
        "|---|---|---|---|",
    ]
    for row in table.to_dict("records"):
        change = (
            "" if pd.isna(row.get("difference", np.nan)) else _signed(row["difference"], row["ci_low"], row["ci_high"])
        )
        spread = "" if pd.isna(row["sd_seeds"]) else f"{row['sd_seeds']:.3f}"
        lines.append(f"| {row['rung']} | {row['mean']:.3f} ± {row['sd_patients']:.3f} | {spread} | {change} |")
    claims = [
        compare(scores, rung, other, score, unit=ladder.unit)
        for rung, others in ladder.claims.items()
        for other in others
    ]
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
    """For each score a point per rung with the 95 % confidence interval of its mean, and every patient behind it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = ladder.lines
    figure = Figure(figsize=(1.2 * len(names) + 2, 4 * len(ladder.scores)), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, score in zip(figure.subplots(len(ladder.scores), squeeze=False)[:, 0], ladder.scores, strict=True):
        by_patient = scores.groupby(["rung", ladder.unit])[score].mean().dropna()
        for place, name in enumerate(names):
            values = by_patient[name].to_numpy()
            half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values) if len(values) > 1 else 0.0
            axis.plot(np.full(len(values), place), values, ".", color="0.75", zorder=1)
            axis.errorbar(place, values.mean(), yerr=half, fmt="o", color="#0072b2", capsize=4, zorder=2)
        axis.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
        axis.set_ylabel(f"{ladder.scores[score]} of the {ladder.branch}")
        axis.set_title(f"mean with 95 % confidence interval; grey: {ladder.units}", fontsize=9)
        axis.grid(axis="y", alpha=0.3)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=120)


def _signed(difference: float, low: float, high: float) -> str:
    return f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"
