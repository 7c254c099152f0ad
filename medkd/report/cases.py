"""Tables of single cases, of whatever evaluation wrote them, in one form."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from medkd.handlers.case_names import numbered
from medkd.report.material import Cell, Material

__all__ = ["beside", "over_classes", "read_cases", "read_trust", "without_names"]

_KEYS = ["network", "seed", "number", "case", "patient", "class"]


def read_cases(cell: Cell) -> pd.DataFrame:
    """``cases.csv`` of a cell, of its branch: ``network``, ``seed``, ``number``, ``case``, ``patient``, ``class``, ``dice``, ``distance``, ``unit``.

    F1 of a tile is its Dice; negative tiles have none.
    """
    table = pd.read_csv(cell.folder / "eval" / "cases.csv", dtype=dict.fromkeys(("patient", "case", "location"), str))
    table = table.fillna({"location": ""}) if "location" in table else table  # a tile that is a whole file
    table = table[table["branch"] == cell.branch].reset_index(drop=True)
    table = table.rename(columns={"f1": "dice", "hd95": "distance", "hausdorff": "distance"})
    table = table.assign(unit=table.get("unit", "pixels"), **{"class": table.get("class", "foreground")})
    names = ["case", *(["location"] if "location" in table else []), "patient"]
    table["again"] = table.groupby([*names, "class"], dropna=False).cumcount()
    unique = table[[*names, "again"]].drop_duplicates().reset_index(drop=True)
    table = table.merge(unique.assign(number=numbered(unique)), on=[*names, "again"])
    if "location" in table and table.duplicated(["case", "class"]).any():
        table["case"] += " " + table["location"]
    table = table.assign(network=cell.network, seed=cell.seed)
    kept: pd.DataFrame = table[[*_KEYS, "dice", *[name for name in ("distance", "unit") if name in table]]]
    return kept


def read_trust(cell: Cell, cases: pd.DataFrame) -> pd.DataFrame:
    """``trust.csv`` of a cell, of its branch; empty where there is none, or where it is not of the same cases.

    Args:
        cell: the training.
        cases: of all cells.
    """
    path = cell.folder / "eval" / "trust.csv"
    empty: pd.DataFrame = pd.DataFrame(
        {"network": [], "seed": [], "number": [], "class": [], "case": pd.Series(dtype=str)}
    )
    if not path.is_file():
        return empty
    table = pd.read_csv(path, dtype={"patient": str, "case": str})
    own = cases[(cases["network"] == cell.network) & (cases["seed"] == cell.seed)]
    if set(own["number"]) != set(table["number"]):
        return empty
    found: pd.DataFrame = table[table["branch"] == cell.branch].assign(network=cell.network, seed=cell.seed)
    return found


def without_names(material: Material) -> Material:
    """With ``case 1`` and ``patient 1`` in place of names, the same in every table."""
    ordered = material.cases.sort_values("number")["patient"].drop_duplicates()
    every = [*ordered, *(name for name in material.scores["patient"].unique() if name not in set(ordered))]
    patients = {name: f"patient {place}" for place, name in enumerate(every, start=1)}
    cases, scores = material.cases.copy(), material.scores.copy()
    cases["case"], cases["patient"] = "case " + cases["number"].astype(str), cases["patient"].map(patients)
    units = {name: f"unit {place}" for place, name in enumerate(sorted(scores["unit"].unique()), start=1)}
    known = material.ladder.unit == "patient"
    scores["unit"] = scores["patient"].map(patients) if known and "dataset" not in scores else scores["unit"].map(units)
    scores["patient"] = scores["patient"].map(patients)
    return replace(material, cases=cases, scores=scores)


def over_classes(table: pd.DataFrame) -> pd.DataFrame:
    """Means over the classes, a row per network, seed and case; the largest distance."""
    how = {"dice": "mean", **({"distance": "max", "unit": "first"} if "distance" in table else {})}
    means: pd.DataFrame = table.groupby(["network", "seed", "number", "case", "patient"], as_index=False).agg(how)
    return means


def beside(material: Material, table: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds, the networks of the parts beside each other: ``student``, ``teacher``, …, and ``distance`` of the student.

    Args:
        material: says who plays which part.
        table: ``material.cases``, or ``over_classes`` of it.
    """
    keys = [key for key in ("number", "case", "patient", "class") if key in table]
    columns = {}
    for part, network in material.shown.items():
        own = table[table["network"] == network].groupby(keys)
        columns[part] = own["dice"].mean()
        if part == "student" and "distance" in table:
            columns["distance"] = own["distance"].mean()
    joined = pd.DataFrame(columns).reset_index()
    scored: pd.DataFrame = joined[joined["student"].notna()]
    return scored
