"""The figures of a report; each is None where what it shows is not there."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medkd.ladder.intervals import by_seed, crossed_mean
from medkd.report.cases import beside, over_classes
from medkd.report.checks_of_trust import by_patient, short
from medkd.report.curves import Curve
from medkd.report.drawing import COLOURS, DASHES, MARKERS, Plot, axes
from medkd.report.material import Limits, Material
from medkd.report.numbers import agreement, calibration, coverage

__all__ = ["bland_altman", "case_scores", "differences", "ladder", "learning", "reliability", "risk_coverage"]

_ENOUGH = 1e-4  # share of the pixels: a bin with fewer is not drawn


def ladder(material: Material) -> Plot:
    """A line per rung: every unit, and the mean with its 95 % confidence interval."""
    names, score = [name for name in material.ladder.lines if name in set(material.scores["rung"])], material.score
    parts = {network: part for part, network in material.parts.items()}
    plot = Plot(
        f"{material.title} of every rung",
        f"{material.title} of {', '.join(names)}: points and intervals, as in the table",
    )
    with axes(plot, height=0.42 * len(names) + 1.1) as axis:
        for place, name in enumerate(reversed(names)):
            values = by_seed(material.scores, name, score)
            estimate = crossed_mean(values.to_numpy(), list(values.index.get_level_values("patient")))
            low, high = estimate.interval()
            half = (high - low) / 2 if np.isfinite(high - low) else 0.0
            part = parts.get(name, "")
            shift = np.linspace(-0.2, 0.2, len(values)) if len(values) > 1 else np.zeros(len(values))
            axis.plot(values.mean(axis=1), place + shift, ".", color="0.8", markersize=4, zorder=1)
            axis.errorbar(
                estimate.mean,
                place,
                xerr=half,
                fmt=MARKERS.get(part, "o"),
                color=COLOURS.get(part, "#4d4d4d"),
                capsize=4,
                zorder=2,
            )
        axis.set_yticks(range(len(names)), list(reversed(names)))
        axis.set_xlabel(f"{material.title}; grey: {short(material.ladder.units)}")
        axis.grid(axis="y", visible=False)
    return plot


def differences(material: Material) -> Plot | None:
    """A point per patient, sorted: the student's Dice less that of others."""
    table = by_patient(material)
    others = [part for part in ("teacher", "alone") if part in table]
    if not others:
        return None
    plot = Plot(
        "Paired differences",
        f"Student's Dice less that of {' and '.join(material.parts[part] for part in others)}, for each of {len(table)} {material.ladder.groups}, sorted",
    )
    with axes(plot) as axis:
        axis.axhline(0, color="black", linewidth=0.8)
        for part in others:
            values = np.sort((table["student"] - table[part]).dropna())
            axis.plot(
                np.linspace(0, 100, len(values)),
                values,
                MARKERS[part],
                color=COLOURS[part],
                markersize=4,
                alpha=0.7,
                label=f"student − {material.parts[part]}",
            )
        axis.set_xlabel(f"% of the {short(material.ladder.groups)}, the worst first")
        axis.set_ylabel("difference in Dice")
        axis.legend(loc="upper left")
    return plot


def case_scores(material: Material, limits: Limits) -> Plot:
    """For each network the share of cases with a Dice below a value."""
    table = beside(material, over_classes(material.cases))
    plot = Plot(
        "Share of cases below a Dice",
        "Cumulative distribution of the Dice of single cases; the limit's shares stand in the table",
    )
    with axes(plot) as axis:
        for part, network in material.shown.items():
            values = np.sort(table[part].dropna()) if part in table else np.array([])
            axis.step(
                values,
                100 * np.arange(1, len(values) + 1) / max(len(values), 1),
                DASHES[part],
                color=COLOURS[part],
                label=network,
                where="post",
            )
        axis.axvline(limits.least_dice, color="black", linewidth=0.8)
        axis.annotate(f" {limits.least_dice:g}", (limits.least_dice, 96), va="top", fontsize=9)
        axis.set(xlabel="Dice of a case", ylabel="% of cases below", xlim=(0, 1), ylim=(0, 100))
        axis.legend(loc="upper left")
    return plot


def reliability(material: Material) -> Plot | None:
    """How often a class is there, by how probable the networks call it."""
    found = {part: calibration(material, network) for part, network in material.shown.items()}
    known = {part: one for part, one in found.items() if one is not None}
    if not known:
        return None
    plot = Plot(
        "Calibration",
        "Reliability plot: observed frequency against predicted probability, ten bins; below the diagonal is overconfidence",
    )
    with axes(plot, height=4.0) as axis:
        axis.plot([0, 1], [0, 1], color="black", linewidth=0.8)
        axis.annotate("overconfident", (0.68, 0.08), color="0.3", fontsize=9)
        axis.annotate("underconfident", (0.03, 0.66), color="0.3", fontsize=9)
        for part, one in known.items():
            count, confidence, right = one.table
            there = count > _ENOUGH * count.sum()
            axis.plot(
                confidence[there] / count[there],
                right[there] / count[there],
                f"{MARKERS[part]}{DASHES[part]}",
                color=COLOURS[part],
                markersize=5,
                label=f"{material.parts[part]}, ECE {one.error:.3f}",
            )
        axis.set(
            xlabel="predicted probability of a class", ylabel="share of pixels of that class", xlim=(0, 1), ylim=(0, 1)
        )
        axis.legend(loc="upper left")
    return plot


def risk_coverage(material: Material) -> Plot | None:
    """The error that is left over the cases that are kept, the surest first."""
    found = {
        part: coverage(material, network) for part, network in material.shown.items() if part in {"student", "teacher"}
    }
    known = {part: one for part, one in found.items() if one is not None}
    if "student" not in known:
        return None
    plot = Plot(
        "Risk and coverage", "Mean error (1 − Dice) of the cases that are kept, when the least certain go to a human"
    )
    with axes(plot) as axis:
        for part, one in known.items():
            axis.plot(
                100 * one.coverage,
                one.risk,
                DASHES[part],
                color=COLOURS[part],
                label=f"{material.parts[part]}, by its entropy",
            )
        student = known["student"]
        axis.plot(100 * student.coverage, student.best, color="0.55", linewidth=1, label="student, worst cases known")
        axis.axhline(student.risk[-1], color="black", linewidth=0.8, linestyle=(0, (1, 3)), label="student, by chance")
        axis.set(xlabel="% of cases kept, the surest first", ylabel="1 − mean Dice", xlim=(0, 100))
        settled = max(
            float(one.risk[one.coverage > 0.1].max()) for one in known.values()
        )  # the first few cases jump about
        axis.set_ylim(0, 1.6 * max(settled, float(student.risk[-1])))
        axis.legend(loc="upper left", fontsize=8)
    return plot


def bland_altman(material: Material, name: str) -> Plot | None:
    """Differences of volumes by their size, of the student, with the limits of agreement."""
    found = agreement(material, material.student, name)
    if found is None:
        return None
    plot = Plot(
        f"Volumes: {name}",
        f"Bland–Altman plot of {name}: bias {found.bias:.3g}, limits of agreement {found.low:.3g} to {found.high:.3g} {found.unit}",
    )
    with axes(plot) as axis:
        axis.plot(found.mean, found.difference, "o", color=COLOURS["student"], markersize=4, alpha=0.7)
        for value, style, text in (
            (found.bias, "-", "bias"),
            (found.low, "--", "−1.96 SD"),
            (found.high, "--", "+1.96 SD"),
        ):
            axis.axhline(value, color="black", linewidth=0.9, linestyle=style)
            axis.annotate(text, (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
        axis.set(xlabel=f"mean of truth and student ({found.unit})", ylabel=f"student − truth ({found.unit})")
        axis.ticklabel_format(scilimits=(-3, 4))
    return plot


def learning(curves: Mapping[str, list[Curve]]) -> list[Plot]:
    """What validation said epoch by epoch, a ring at the epoch that was kept, and the training loss."""
    known = {part: own for part, own in curves.items() if own}
    if not known:
        return []
    name = next(own[0].score for own in known.values())
    validation = Plot("Validation", f"{name} of the validation images by epoch; rings mark the epochs that were kept")
    loss = Plot("Training loss", "Training loss by epoch, which is not of one scale where rungs have other losses")
    with axes(validation) as axis:
        for part, own in known.items():
            for curve in own:
                label = curve.network if curve is own[0] else None
                axis.plot(*curve.validation, DASHES[part], color=COLOURS[part], linewidth=1.2, label=label)
                axis.plot(curve.kept, curve.best, "o", markersize=8, markerfacecolor="none", color=COLOURS[part])
        axis.set(xlabel="epoch; a ring: kept", ylabel=name)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(loc="lower right")
    with axes(loss) as axis:
        for part, own in known.items():
            for curve in own:
                label = curve.network if curve is own[0] else None
                axis.plot(*curve.loss, DASHES[part], color=COLOURS[part], linewidth=1.2, label=label)
        axis.set(xlabel="epoch", ylabel="training loss")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(loc="upper right")
    return [validation, loss]
