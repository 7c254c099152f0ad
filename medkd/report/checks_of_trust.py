"""The checks of a verdict that no mean score tells: single patients, confidence, and the test data."""

from __future__ import annotations

from math import isnan

import pandas as pd

from medkd.ladder.intervals import compare, signed
from medkd.report.cases import over_classes
from medkd.report.material import Limits, Material
from medkd.report.numbers import calibration
from medkd.report.outcome import Check

__all__ = ["by_patient", "confidence", "data", "patients", "short"]


def by_patient(material: Material) -> pd.DataFrame:
    """Mean Dice of each patient over its cases, classes and the seeds, a column per part of ``material.shown``."""
    means = over_classes(material.cases).groupby(["patient", "network"])["dice"].mean().unstack("network")
    shown = {network: part for part, network in material.shown.items() if network in means}
    table = means[list(shown)].rename(columns=shown)
    scored: pd.DataFrame = table[table["student"].notna()]
    return scored


def patients(material: Material, limits: Limits) -> Check:
    """Whether the student fails where what it would replace does not."""
    table, least, groups = by_patient(material), limits.least_dice, short(material.ladder.groups)
    other = next((part for part in ("teacher", "alone") if part in table), None)
    called = {"teacher": "its teacher", "alone": "the student alone"}.get(other or "", "")
    rule = f"none of the {groups} has a mean Dice below {least:g}" + (
        f", unless {called} fails there too, and on no more than half of them" if other else ""
    )
    if table.empty:
        return Check("single patients", "caution", "no case of it has a Dice", rule, "trust")
    low = table[table["student"] < least].sort_values("student")
    if low.empty:
        brief = f"the worst of {len(table)} {groups}, {table['student'].idxmin()}, has a Dice of {table['student'].min():.2f}"
        return Check("single patients", "pass", brief, rule, "trust")
    alone = low[~(low[other] < least)] if other else low
    shown = alone if len(alone) else low
    bad, name = float(shown["student"].iloc[0]), shown.index[0]
    beside = f", {called} {shown[other].iloc[0]:.2f}" if other and shown[other].notna().iloc[0] else ""
    where = f" where {called} does not" if len(alone) and other else f", as {called} does" if other else ""
    brief = f"it fails on {len(shown)} of {len(table)} {groups}{where} (Dice below {least:g}; worst: {name} with {bad:.2f}{beside})"
    more = f"with those where {called} fails too it fails on {len(low)}" if 0 < len(alone) < len(low) else ""
    failed = len(alone) or 2 * len(low) > len(table)  # a teacher that fails on most of them too is no excuse
    return Check("single patients", "fail" if failed else "caution", brief, rule, "trust", more)


def confidence(material: Material, limits: Limits) -> Check:
    """Whether the student is surer than it is right."""
    rule = f"where a class is more likely than not, the mean probability exceeds the share of pixels that are of it by no more than {limits.overconfidence:g}"
    own = calibration(material, material.student)
    if own is None:
        return Check(
            "confidence", "caution", "nobody knows whether its confidence is right (no eval/trust.csv)", rule, "trust"
        )
    if isnan(own.excess):
        return Check("confidence", "caution", "it is never sure of any foreground", rule, "trust")
    teacher = calibration(material, material.parts["teacher"]) if "teacher" in material.parts else None
    more = (
        f"its teacher is {teacher.sure:.0%} sure and right in {teacher.right:.0%}"
        if teacher and not isnan(teacher.excess)
        else ""
    )
    where = f"{own.sure:.0%} sure of the foreground it sees, it is right in {own.right:.0%} of it"
    if own.excess > limits.overconfidence:
        more = "; ".join(filter(None, [more, "calibrate it, or use its masks alone"]))
        return Check("confidence", "open", f"it is overconfident ({where})", rule, "trust", more)
    return Check("confidence", "pass", where, rule, "trust", more)


def data(material: Material, limits: Limits) -> list[Check]:
    """What the test data can and cannot tell."""
    return [_overlap(material), _real(material), _enough(material, limits), _seeds(material)]


def _overlap(material: Material) -> Check:
    units, name = short(material.ladder.units), "held-out patients"
    own = material.scores[material.scores["rung"] == material.student].drop_duplicates("unit")
    seen, rule = int(own["seen"].sum()), f"no {units} of the test show a patient of training or validation"
    images = material.data.seen if material.data else 0
    if not seen and not images:
        if material.data is None:
            return Check(
                name, "caution", "nobody knows whether its test patients were in training (no datalist)", rule, "data"
            )
        if not material.data.names_patients:
            brief = "nobody knows whether its test patients were in training (the datalist does not say which image is whose)"
            return Check(name, "caution", brief, rule, "data")
        return Check(
            name, "pass", f"none of the {len(own)} test {units} shows a patient of training or validation", rule, "data"
        )
    count = f"{seen} of {len(own)} test {units}" if seen else f"{images} test images"
    brief = f"patient overlap: {count} show a patient of training or validation, which flatters its scores"
    unseen = material.scores[~material.scores["seen"]]
    if not seen or unseen["patient"].nunique() < 2:
        return Check(name, "fail", brief, rule, "data")
    if "alone" not in material.parts:
        return Check(name, "open", brief, rule, "data")
    pair = (material.student, material.parts["alone"])
    every, left = (compare(scores, [pair], material.score)[0] for scores in (material.scores, unseen))
    brief += f" (without them its gain is {signed(left.difference, left.low, left.high)})"
    return Check(name, "caution" if every.verdict == left.verdict else "open", brief, rule, "data")


def _real(material: Material) -> Check:
    rule = "the test images are of patients"
    if material.data is None:
        return Check("real images", "caution", "nobody knows what the images are (no datalist)", rule, "data")
    if material.data.synthetic:
        brief = f"its images are phantoms ({material.data.name}), which tell nothing about patients"
        return Check("real images", "open", brief, rule, "data")
    return Check("real images", "pass", f"the dataset is {material.data.name}", rule, "data")


def _enough(material: Material, limits: Limits) -> Check:
    own = material.scores[(material.scores["rung"] == material.student) & material.scores[material.score].notna()]
    count, groups = own["patient"].nunique(), short(material.ladder.groups)
    rule, few = f"there are at least {limits.few:g} test {groups}", count < limits.few
    if material.data and not material.data.names_patients:
        brief = f"there are {count} test images, and nobody knows of how many {groups}: intervals take each for one"
        return Check("number of patients", "caution", brief, rule, "data")
    return Check(
        "number of patients",
        "caution" if few else "pass",
        f"there are {'only ' if few else ''}{count} test {groups}",
        rule,
        "data",
    )


def _seeds(material: Material) -> Check:
    count, rule = len(material.seeds), "the student was trained with more than one seed"
    if count > 1:
        return Check("seeds", "pass", f"it was trained with {count} seeds", rule, "data")
    brief = f"one seed only: intervals count {short(material.ladder.groups)} alone, and another training may differ"
    return Check("seeds", "caution", brief, rule, "data")


def short(groups: str) -> str:
    """``sequences`` for ``sequences (or single images)``."""
    return groups.partition(" (")[0]
