"""The ladder's result: mean and SD of every rung, and paired differences with confidence intervals."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import isfinite
from pathlib import Path

import pandas as pd

from medkd.files import atomic_path
from medkd.ladder.cost import kept_minutes, minutes
from medkd.ladder.intervals import Comparison, compare, signed
from medkd.ladder.plan import Ladder
from medkd.ladder.plot import save_plot
from medkd.ladder.verdicts import verdicts

__all__ = ["cell_dir", "claim_metrics", "collect", "per_unit", "render", "rung_table", "write_tables"]


def cell_dir(root: Path, rung: str, seed: int) -> Path:
    """The folder of one rung and seed."""
    return root / rung / f"seed{seed}"


def collect(ladder: Ladder, root: Path, seeds: Sequence[int], *, seen: Collection[str] = ()) -> pd.DataFrame:
    """One row per rung, seed and unit: each score's mean over the unit's cases and classes.

    The column ``unit`` names what is scored, ``patient`` its patient (or itself, where nobody knows), ``dataset`` the test
    set where there are several, ``minutes`` how long the training took, NaN where nobody knows. The baseline, if there is one,
    is a rung too.

    Args:
        ladder: the rungs.
        root: the ladder's folder.
        seeds: of the cells.
        seen: test patients that are also in training or validation; their units are marked in the column ``seen``.
    """
    parts = []
    for seed in seeds:
        for rung in ladder.rungs:
            folder = cell_dir(root, rung, seed)
            cases = pd.read_csv(folder / "eval" / ladder.table, dtype={"patient": str})
            if ladder.baseline and rung == next(iter(ladder.rungs)):
                free = per_unit(ladder, cases, ladder.baseline)
                parts.append(free.assign(rung=ladder.baseline, seed=seed, minutes=0.0))
            own = per_unit(ladder, cases, ladder.branch_of(rung))
            parts.append(own.assign(rung=rung, seed=seed, minutes=kept_minutes(folder)))
    table: pd.DataFrame = pd.concat(parts, ignore_index=True)
    table["seen"] = table["patient"].isin(seen)
    return table


def per_unit(ladder: Ladder, cases: pd.DataFrame, branch: str) -> pd.DataFrame:
    """One row per unit of an evaluation's table: each score's mean over its cases and classes; NaN where none applies.

    Args:
        ladder: says what a unit is, and which columns are scores.
        cases: ``ladder.table`` of one evaluation.
        branch: of the network.
    """
    # Two patients, or two test sets, may have a unit of one name.
    names = [name for name in ("dataset", "patient") if name in cases and name != ladder.unit]
    own = cases[cases["branch"] == branch]
    means: pd.DataFrame = own.groupby([*names, ladder.unit], as_index=False)[list(ladder.scores)].mean()
    means["unit"] = means[[*names, ladder.unit]].astype(str).agg("/".join, axis=1)
    means["patient"] = means.get("patient", means["unit"])
    return means


def rung_table(ladder: Ladder, scores: pd.DataFrame) -> pd.DataFrame:
    """One row per score and rung: mean, SD over units, SD over seeds, the difference to the rung before, and minutes.

    ``minutes`` is the mean of a training, NaN where nobody knows.
    """
    rows, cost = [], minutes(scores)
    for score in ladder.scores:
        for before, rung in zip([None, *ladder.lines], ladder.lines, strict=False):
            own = scores[(scores["rung"] == rung) & scores[score].notna()]
            row = {
                "score": score,
                "rung": rung,
                "mean": own[score].mean(),
                "sd_units": own.groupby("unit")[score].mean().std(),
                "sd_seeds": own.groupby("seed")[score].mean().std(),
                "seeds": own["seed"].nunique(),
                "units": own["unit"].nunique(),
                "patients": own["patient"].nunique(),
                "minutes": cost[rung].median() if rung in cost else float("nan"),
            }
            if before:
                (step,) = compare(scores, [(rung, before)], score)
                row |= {"difference": step.difference, "ci_low": step.low, "ci_high": step.high}
            rows.append(row)
    table: pd.DataFrame = pd.DataFrame(rows)
    return table


def claim_metrics(ladder: Ladder, scores: pd.DataFrame) -> dict[str, float]:
    """``claim/RUNG-OTHER/dice``, ``…_low`` and ``…_high`` of every claim and score: the difference and its interval.

    What is not finite, as the interval of one patient, is left out.
    """
    found: dict[str, float] = {}
    for score in ladder.scores:
        for claim in compare(scores, ladder.pairs, score):
            name = f"claim/{claim.rung}-{claim.against}/{score}"
            found |= {name: claim.difference, f"{name}_low": claim.low, f"{name}_high": claim.high}
    return {name: value for name, value in found.items() if isfinite(value)}


def render(ladder: Ladder, scores: pd.DataFrame) -> str:
    """The tables as Markdown, which is as readable on a screen, and what they come to in words; tables for each test set as well."""
    sets = {"": scores}
    names = sorted(scores["dataset"].unique()) if "dataset" in scores else []
    if len(names) > 1:
        sets |= {f" of {name}": scores[scores["dataset"] == name] for name in names}
    parts = [_render(ladder, part, which, score) for which, part in sets.items() for score in ladder.scores]
    return "\n\n".join([*parts, *filter(None, [verdicts(ladder, scores)])])


def _render(ladder: Ladder, scores: pd.DataFrame, which: str, score: str) -> str:
    table = rung_table(ladder, scores)
    timed = bool((table["minutes"] > 0).any())
    lines = [
        _title(ladder, scores[scores[score].notna()], which, score),
        "",
        f"| rung | mean ± SD over {ladder.units} | SD over seeds | difference to the rung before [95 % CI] |"
        + " minutes of training |" * timed,
        "|---|---|---|---|" + "---|" * timed,
        *(_rung_line(row, timed) for row in table[table["score"] == score].to_dict("records")),
    ]
    claims, bounds = compare(scores, ladder.pairs, score), ladder.bounds
    within = compare(scores, list(bounds), score, margins=list(bounds.values()))
    if claims or within:
        lines += ["", "| claim | difference [CI, Holm] | p, Holm | verdict |", "|---|---|---|---|"]
        lines += [_claim_line(claim) for claim in [*claims, *within]]
    return "\n".join([*lines, "", _what_counts(ladder, scores, len(claims), len(within))])


def _title(ladder: Ladder, scores: pd.DataFrame, which: str, score: str) -> str:
    units, patients, seeds = (scores[name].nunique() for name in ("unit", "patient", "seed"))
    groups = f" ({patients} {ladder.groups})" if patients < units else ""
    title = f"{ladder.scores[score]}, {units} test {ladder.units}{which}{groups}, {seeds} seed(s)"
    seen = scores[scores["seen"]]["unit"].nunique() if "seen" in scores else 0
    return title + (f"; {seen} of the {ladder.units} show a patient of training or validation" if seen else "")


def _rung_line(row: dict[str, float], timed: bool) -> str:
    change = signed(row["difference"], row["ci_low"], row["ci_high"]) if pd.notna(row.get("difference")) else ""
    spread = f"{row['sd_seeds']:.3f}" if pd.notna(row["sd_seeds"]) else ""
    cost = f"{row['minutes']:.1f}" if pd.notna(row["minutes"]) else ""
    line = f"| {row['rung']} | {row['mean']:.3f} ± {row['sd_units']:.3f} | {spread} | {change} |"
    return line + f" {cost} |" * timed


def _claim_line(claim: Comparison) -> str:
    change = signed(claim.difference, claim.low, claim.high)
    p = f"{claim.p:.3f}" if claim.p >= 0.001 else "< 0.001"
    margin = f", margin {claim.margin:g}" if claim.margin else ""
    return f"| {claim.rung} − {claim.against}{margin} | {change} | {p} | {claim.verdict} |"


def _what_counts(ladder: Ladder, scores: pd.DataFrame, claims: int, within: int) -> str:
    """What the intervals speak for, so that nobody reads more into them."""
    if scores["seed"].nunique() > 1:
        text = f"Intervals count seeds and {ladder.groups}"
    else:
        text = f"Intervals count {ladder.groups} alone: one seed does not tell how much another training would differ"
    text += f"; those of the {claims} claims are corrected by Holm's procedure" if claims > 1 else ""
    return text + (f"; so are, by themselves, those of the {within} with a margin." if within > 1 else ".")


def write_tables(ladder: Ladder, scores: pd.DataFrame, root: Path) -> list[Path]:
    """Write ``ladder.csv``, ``patients.csv``, ``ladder.md`` and ``ladder.png``; return their paths."""
    for name, table in (("ladder.csv", rung_table(ladder, scores)), ("patients.csv", scores)):
        with atomic_path(root / name) as partial:
            table.to_csv(partial, index=False, float_format="%.6f")
    with atomic_path(root / "ladder.md") as partial:
        partial.write_text(render(ladder, scores) + "\n", encoding="utf-8")
    save_plot(ladder, scores, root / "ladder.png")
    return [root / name for name in ("ladder.csv", "patients.csv", "ladder.md", "ladder.png")]
