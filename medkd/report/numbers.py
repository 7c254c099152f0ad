"""What is computed of the tables: calibration, risk and coverage, agreement of volumes, cases that failed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medkd.metrics.trust import BINS, Table, calibration_error, overconfidence
from medkd.report.cases import over_classes
from medkd.report.material import Limits, Material

__all__ = ["Agreement", "Calibration", "Coverage", "agreement", "calibration", "coverage", "islands", "shares"]


@dataclass(frozen=True)
class Calibration:
    """How well a network's probabilities say how often it is right, over all pixels, classes and seeds.

    Attributes:
        table: ``[3, bins]`` of ``medkd.metrics.trust.reliability``.
        error: expected calibration error.
        sure: mean probability where a class is more likely than not.
        right: the share of those pixels that are of the class.
    """

    table: Table
    error: float
    sure: float
    right: float

    @property
    def excess(self) -> float:
        """Confidence above how often it is right; overconfidence where it is positive."""
        return self.sure - self.right


def calibration(material: Material, network: str) -> Calibration | None:
    """Of a network, where its evaluation kept the probabilities."""
    own = material.trust[material.trust["network"] == network]
    if own.empty:
        return None
    kinds = ("pixels", "probability", "right")
    table = np.array([[own[f"{kind}_{place}"].sum() for place in range(BINS)] for kind in kinds], dtype=np.float64)
    return Calibration(table, calibration_error(table), *overconfidence(table))


@dataclass(frozen=True)
class Coverage:
    """What is left wrong when the least certain cases are given to a human.

    Attributes:
        coverage: share of the cases that are kept, ascending to 1.
        risk: 1 − the mean Dice of those, most certain first.
        best: the same, if the worst cases came last.
        gain: by how much the mean Dice is higher over the surest 80 % than over all.
        found: the share of ``best``'s gain there, NaN where there is none to be had.
    """

    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    best: NDArray[np.float64]
    gain: float
    found: float


def coverage(material: Material, network: str, kept: float = 0.8) -> Coverage | None:
    """Of a network, the mean over its seeds: cases in the order of the mean entropy of the pixels that it calls foreground.

    That is the structure-wise uncertainty of Roy et al. (NeuroImage 2019), by the softmax's entropy. A case with no foreground
    has the mean entropy of all its pixels; of several classes it is their mean.
    """
    own = material.trust[material.trust["network"] == network]
    if own.empty:
        return None
    keys = ["seed", "number"]
    entropy = own.assign(h=own["entropy_inside"].fillna(own["entropy"])).groupby(keys)["h"].mean()
    dice = over_classes(material.cases[material.cases["network"] == network]).groupby(keys)["dice"].mean()
    table = pd.DataFrame({"entropy": entropy, "error": 1 - dice}).dropna()
    curves = [_risks(seed) for _, seed in table.groupby(level="seed")]
    count = min((len(risk) for risk, _ in curves), default=0)
    if count < 2:
        return None
    risk, best = (np.mean([curve[which][-count:] for curve in curves], axis=0) for which in (0, 1))
    place = max(0, round(kept * count) - 1)
    gain, most = float(risk[-1] - risk[place]), float(best[-1] - best[place])
    return Coverage(np.arange(1, count + 1) / count, risk, best, gain, gain / most if most else float("nan"))


def _risks(seed: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean errors of the surest cases, of one and of all: by their entropy, and if the errors themselves were known."""
    count = np.arange(1, len(seed) + 1)
    risk = seed.sort_values("entropy")["error"].cumsum().to_numpy() / count
    return risk, np.sort(seed["error"].to_numpy()).cumsum() / count


@dataclass(frozen=True)
class Agreement:
    """Bland and Altman's analysis (Lancet 1986) of a class's volumes, a point per case, the mean over seeds.

    Attributes:
        mean: of truth and prediction.
        difference: prediction − truth.
        bias: its mean.
        low: lower limit of agreement, bias − 1.96 SD.
        high: upper one.
        unit: of all of them.
    """

    mean: NDArray[np.float64]
    difference: NDArray[np.float64]
    bias: float
    low: float
    high: float
    unit: str


def agreement(material: Material, network: str, name: str) -> Agreement | None:
    """Of a network and a class."""
    own = material.trust[(material.trust["network"] == network) & (material.trust["class"] == name)]
    if own.empty:
        return None
    cases = own.groupby("number")[["truth_volume", "predicted_volume"]].mean()
    difference = (cases["predicted_volume"] - cases["truth_volume"]).to_numpy()
    bias, spread = float(difference.mean()), float(difference.std(ddof=1)) if len(difference) > 1 else float("nan")
    unit = " and ".join(sorted(own["unit"].unique()))
    return Agreement(cases.mean(axis=1).to_numpy(), difference, bias, bias - 1.96 * spread, bias + 1.96 * spread, unit)


def islands(material: Material, network: str) -> dict[str, float] | None:
    """False and missed islands per case, means over seeds, and the share of cases that have a false one."""
    own = material.trust[material.trust["network"] == network]
    if own.empty:
        return None
    cases = own.groupby(["seed", "number"])[["false_islands", "missed_islands"]].sum()
    found = {name: float(cases[name].mean()) for name in cases}
    return {**found, "share": float((cases["false_islands"] > 0).mean())}


def shares(material: Material, network: str, limits: Limits) -> dict[str, float]:
    """The shares of a network's cases that failed: ``low``, of those with a Dice, and ``far``, of those with a distance."""
    table = over_classes(material.cases[material.cases["network"] == network])
    dice = table["dice"].dropna()
    found = {
        "mean": float(dice.mean()),
        "low": float((dice < limits.least_dice).mean()),
        "cases": float(table["number"].nunique()),
    }
    distance = table["distance"].dropna() if "distance" in table else pd.Series(dtype=float)
    if len(distance):
        found |= {
            "far": float((distance > limits.most_distance).mean()),
            "undefined": float(len(table) - len(distance)),
        }
    return found
