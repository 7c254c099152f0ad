"""The tables of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, isnan

import pandas as pd

from medkd.ladder.intervals import compare, signed
from medkd.ladder.table import rung_table
from medkd.report.cases import beside, over_classes
from medkd.report.material import Limits, Material
from medkd.report.numbers import calibration, islands, shares
from medkd.report.verdict import margin_of

__all__ = [
    "Table",
    "claims",
    "cost",
    "false_islands",
    "measured",
    "per_case",
    "per_class",
    "per_part",
    "rungs",
    "trust",
]

_MOST_ROWS = 400
Row = Sequence[str | tuple[str, float]]


@dataclass(frozen=True)
class Table:
    """What the page shows as a table.

    Attributes:
        caption: what it is of.
        heads: titles of the columns.
        rows: of texts; a cell is a text or a text and the number it is sorted by.
        sortable: by buttons in its heads.
        note: below it.
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[Row]
    sortable: bool = False
    note: str = ""


def rungs(material: Material) -> Table:
    """The ladder: mean, spread, difference to the rung before, minutes."""
    ladder = material.ladder
    every = rung_table(ladder, material.scores)
    table = every[every["score"] == material.score]
    parts = {network: part for part, network in material.parts.items()}
    heads = ["rung", f"{material.title}, mean ± SD", "SD over seeds", "to the rung before [95 % CI]", "minutes"]
    rows = [
        [
            f"{row['rung']} ({_PARTS[parts[row['rung']]]})" if row["rung"] in parts else row["rung"],
            f"{row['mean']:.3f}\u00a0±\u00a0{row['sd_units']:.3f}",
            _number(row["sd_seeds"], 3),
            _interval(row["difference"], row["ci_low"], row["ci_high"]) if pd.notna(row.get("difference")) else "–",
            _number(row["minutes"], 1),
        ]
        for row in table.to_dict("records")
    ]
    return Table(f"{material.title} of every rung on the test {ladder.units}", heads, rows)


_PARTS = {"student": "the student", "teacher": "its teacher", "alone": "the student alone", "full": "full supervision"}


def claims(material: Material, limits: Limits) -> Table | None:
    """Paired differences of the student to the other parts, for every score of the ladder, and where a margin holds whether."""
    rows = []
    for score, title in material.ladder.scores.items():
        for part, network in material.shown.items():
            if part == "student":
                continue
            bounded = score == material.score and part in {"teacher", "full"}
            margin = margin_of(material, part, limits)[0] if bounded else 0.0
            pair = (material.student, network)
            (plain,) = compare(material.scores, [pair], score)
            (within,) = compare(material.scores, [pair], score, margins=[margin])
            said = f"{within.verdict} (margin {margin:g})" if bounded else plain.verdict
            if not isnan(plain.difference):
                change = (
                    _interval(plain.difference, plain.low, plain.high)
                    if isfinite(plain.low)
                    else f"{plain.difference:+.3f}"
                )
                rows.append([title, f"{pair[0]} − {network}", change, said])
    note = "Each interval is a 95 % one of its own; those that the verdict quotes are corrected by Holm's procedure where the ladder makes several claims."
    return (
        Table("Paired differences", ["score", "of", "difference [95 % CI]", "verdict"], rows, note=note)
        if rows
        else None
    )


def per_part(material: Material, limits: Limits) -> Table:
    """Shares of the cases that failed, for each network."""
    found = {network: shares(material, network, limits) for network in material.shown.values()}
    far = any("far" in one for one in found.values())
    unit = " and ".join(sorted(material.cases["unit"].dropna().unique())) if "unit" in material.cases else ""
    heads = ["network", "mean Dice of cases", f"cases below {limits.least_dice:g}"]
    heads += [f"cases with a distance above {limits.most_distance:g} {unit}"] * far
    rows = [
        [network, f"{one['mean']:.3f}", f"{one['low']:.1%}", *([_percent(one.get("far"))] * far)]
        for network, one in found.items()
    ]
    count = int(next(iter(found.values()))["cases"])
    undefined = int(found[material.student].get("undefined", 0))
    note = f"{count} cases; a case's Dice is the mean over its classes, its distance (HD95; of tiles the Hausdorff distance) the largest of them."
    note += f" {undefined} cases of the student have no distance, for it or the truth is empty." if undefined else ""
    return Table("Cases that failed", heads, rows, note=note)


def per_class(material: Material) -> Table:
    """Mean Dice of every class, networks side by side."""
    table = beside(material, material.cases)
    parts = [part for part in material.shown if part in table]
    rows: list[Row] = []
    for name, own in table.groupby("class", sort=False):
        means = [(f"{own[part].mean():.3f}", float(own[part].mean())) for part in parts]
        change = [own["student"] - own[part] for part in parts[1:]]
        rows.append([str(name), *means, *[(f"{one.mean():+.3f}", float(one.mean())) for one in change]])
    heads = [
        "class",
        *(material.parts[part] for part in parts),
        *(f"{material.student} − {material.parts[part]}" for part in parts[1:]),
    ]
    return Table("Dice of every class, means over cases and seeds", heads, rows, sortable=True)


def per_case(material: Material) -> Table:
    """Dice of every case, networks side by side; of very many the worst."""
    table = beside(material, over_classes(material.cases)).sort_values("student")
    parts = [part for part in material.shown if part in table]
    distance = "distance" in table
    rows: list[Row] = []
    for row in table.head(_MOST_ROWS).to_dict("records"):
        line: list[str | tuple[str, float]] = [str(row["case"]), str(row["patient"])]
        line += [(_number(row[part], 3), row[part]) for part in parts]
        line += [(f"{row['student'] - row[part]:+.3f}", row["student"] - row[part]) for part in parts[1:]]
        rows.append([*line, *([(_number(row["distance"], 1), row["distance"])] if distance else [])])
    heads = [
        "case",
        "patient",
        *(material.parts[part] for part in parts),
        *(f"to {material.parts[part]}" for part in parts[1:]),
    ]
    heads += ["HD95"] * distance
    note = f"The {_MOST_ROWS} worst of {len(table)} cases." if len(table) > _MOST_ROWS else ""
    return Table("Dice of every case, means over classes and seeds", heads, rows, sortable=True, note=note)


def trust(material: Material) -> Table | None:
    """Calibration of every network of which the probabilities are known."""
    found = {network: calibration(material, network) for network in material.shown.values()}
    rows = [
        [network, f"{own.error:.4f}", _percent(own.sure), _percent(own.right)] for network, own in found.items() if own
    ]
    heads = ["network", "ECE, all pixels", "sure where it sees foreground", "right there"]
    return Table("Confidence", heads, rows) if rows else None


def false_islands(material: Material) -> Table | None:
    """Islands of every network of which they were counted."""
    found = {network: islands(material, network) for network in material.shown.values()}
    rows = [
        [network, f"{own['false_islands']:.2f}", f"{own['missed_islands']:.2f}", _percent(own["share"])]
        for network, own in found.items()
        if own
    ]
    heads = ["network", "false islands per case", "missed islands per case", "cases with a false island"]
    return Table("Islands: parts of a mask that nothing of the truth is in", heads, rows) if rows else None


def cost(found: Sequence[object]) -> Table:
    """Size, parameters and minutes of training."""
    from medkd.report.provenance import Model

    models = [one for one in found if isinstance(one, Model)]
    rows = [
        [
            one.network,
            f"{one.parameters:,}" if one.parameters is not None else "no file here",
            f"{one.size / 1e6:.2f}" if one.size is not None else "–",
            _number(one.minutes, 1),
        ]
        for one in models
    ]
    return Table("Size and training", ["network", "parameters", "file, MB", "minutes of training"], rows)


def measured(lines: pd.DataFrame) -> Table:
    """What ``medkd efficiency`` has measured."""
    heads = ["network", "runtime", "s per case, warm", "with start", "peak MiB", "file MB", "GMACs"]
    rows = [
        [
            str(line["network"]),
            f"{line['runtime']} {line['precision']}",
            f"{line['warm']:.3f}",
            f"{line['seconds']:.2f}",
            f"{line['peak']:.0f}",
            f"{line['file']:.1f}",
            f"{line['macs'] / 1e9:.2f}",
        ]
        for line in lines.to_dict("records")
    ]
    return Table("Time and memory, medians over cases", heads, rows)


def _interval(difference: float, low: float, high: float) -> str:
    """The interval stays together where the line ends."""
    return signed(difference, low, high).replace(", ", ",\u00a0")


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if pd.notna(value) else "–"


def _percent(value: float | None) -> str:
    return f"{value:.1%}" if value is not None and pd.notna(value) else "–"
