"""Confidence intervals over patients and seeds, corrected for how many claims a table makes.

Every student of a rung is tested on the same patients, so the differences of two rungs have two random factors that cross:
the seed and the patient. Both count, as readers and cases do in a multi-reader study (Hillis, Statistics in Medicine 2007):
the variance of the mean is that between patients plus that between seeds (the two-way cluster-robust variance of Cameron,
Gelbach and Miller, JBES 2011, without its third term, which would only take away what both count), and Satterthwaite's
degrees of freedom lie near the smaller of both numbers minus 1. With one seed it is the paired t-test over the patients.
Where patients have different numbers of images, of which a few may decide the mean, the part between patients is CR2 with the
degrees of freedom of Bell and McCaffrey (Survey Methodology 2002), which for equal numbers are those of that t-test.
A bootstrap of both factors covers too little here: with 3 seeds there is hardly anything to resample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Comparison", "Estimate", "by_seed", "compare", "crossed_mean", "signed"]

ALPHA = 0.05


@dataclass(frozen=True)
class Estimate:
    """A mean with its uncertainty.

    Attributes:
        mean: the mean; NaN of nothing.
        error: its standard error; infinite where there is nothing to tell it from.
        degrees: degrees of freedom of the t distribution.
        seed_share: the share of the variance that is between seeds; 0 with one.
    """

    mean: float
    error: float
    degrees: float
    seed_share: float = 0.0

    @property
    def p(self) -> float:
        """Two-sided p-value of the mean being 0."""
        if self.error in {0.0, np.inf}:
            return float(self.error > 0 or self.mean == 0)
        return float(2 * stats.t.sf(abs(self.mean) / self.error, self.degrees))

    def interval(self, alpha: float = ALPHA) -> tuple[float, float]:
        """The two ends of the confidence interval of level 1 − alpha."""
        half = float(stats.t.ppf(1 - alpha / 2, self.degrees)) * self.error
        return self.mean - half, self.mean + half


@dataclass(frozen=True)
class Comparison:
    """The difference between two rungs, paired by seed and by what is scored.

    Attributes:
        rung: the rung that is compared.
        against: with which other.
        difference: mean difference, rung minus other.
        low: lower end of the confidence interval.
        high: upper end of it.
        p: the p-value after Holm's correction.
        seed_share: the share of the variance that is between seeds, which more seeds reduce; 0 with one.
        margin: of a claim of non-inferiority: by how much the rung may be behind; 0 of a claim to be better.
    """

    rung: str
    against: str
    difference: float
    low: float
    high: float
    p: float
    seed_share: float = 0.0
    margin: float = 0.0

    @property
    def verdict(self) -> str:
        """In one word, whether the interval excludes 0; with a margin, whether it excludes that it is behind by more."""
        if self.margin:
            above, below = self.low > -self.margin, self.high < -self.margin
            return "not inferior" if above else "inferior" if below else "undecided"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "undecided"


def crossed_mean(values: NDArray[np.float64], patients: Sequence[str]) -> Estimate:
    """The mean of what was scored with every seed, and how sure it is.

    Args:
        values: ``[units, seeds]``.
        patients: the patient of each unit; units of one patient are not taken for independent.
    """
    seeds = values.shape[1]
    count = len(set(patients))
    if count < 2 or not seeds:
        return Estimate(float(values.mean()) if values.size else float("nan"), float("inf"), 1)
    parts = [_between_patients(values.mean(1), patients)]
    if seeds > 1:
        parts.append((float(values.mean(0).var(ddof=1)) / seeds, seeds - 1))
    variance = sum(part for part, _ in parts)
    degrees = variance**2 / sum(part**2 / own for part, own in parts) if variance else parts[0][1]
    share = parts[-1][0] / variance if seeds > 1 and variance else 0.0
    return Estimate(float(values.mean()), float(np.sqrt(variance)), degrees, share)


def _between_patients(values: NDArray[np.float64], patients: Sequence[str]) -> tuple[float, float]:
    """The variance of the mean of ``[units]`` that comes from their patients, and its degrees of freedom.

    With n of N units a patient's share is w = n/N: the variance is Σ S²/(1 − w)/N² over the patients' sums S of what is above the
    mean, its degrees of freedom 1/(Σ w² + Σ w_g² w_h²/((1 − w_g)(1 − w_h))), the second sum over the pairs of two patients.
    """
    grouped = pd.Series(values - values.mean()).groupby(np.asarray(patients))
    shares = (grouped.size() / len(values)).to_numpy(float)
    variance = float((grouped.sum().to_numpy() ** 2 / (1 - shares)).sum()) / len(values) ** 2
    terms = shares**2 / (1 - shares)
    return variance, float(1 / ((shares**2).sum() + terms.sum() ** 2 - (terms**2).sum()))


def compare(
    scores: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    score: str = "dice",
    *,
    margins: Sequence[float] | None = None,
) -> list[Comparison]:
    """The differences of pairs of rungs, corrected by Holm's procedure for how many pairs there are.

    The p-values are Holm's. Each interval has the level at which Holm tests its pair (Serlin, Journal of Experimental
    Education 1993), 1 − 0.05/n for the clearest of n pairs and wider than 95 % for all but the last, so it excludes 0
    exactly where the corrected p-value is below 0.05. One pair is not corrected.

    Args:
        scores: columns ``rung``, ``seed``, ``unit``, ``patient`` and the score, as ``collect`` gives them; units to which the
            score does not apply are left out.
        pairs: rung and other.
        score: the column.
        margins: for each pair by how much the rung may be behind: what is tested is the difference to that. An interval's lower
            end is one of a one-sided test at half its level, 2.5 % for one pair.
    """
    deltas = list(margins or [0.0] * len(pairs))
    found = [_difference(scores, *pair, score) for pair in pairs]
    estimates = [replace(one, mean=one.mean + delta) for one, delta in zip(found, deltas, strict=True)]
    adjusted, alphas = _holm(np.array([estimate.p for estimate in estimates]))
    return [
        Comparison(*pair, one.mean, *one.interval(alpha), p, one.seed_share, delta)
        for pair, one, p, alpha, delta in zip(pairs, found, adjusted, alphas, deltas, strict=True)
    ]


def signed(difference: float, low: float, high: float) -> str:
    """A difference and the ends of its interval as text."""
    return f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"


def by_seed(scores: pd.DataFrame, rung: str, score: str) -> pd.DataFrame:
    """The score of a rung, a row per unit and patient and a column per seed."""
    table: pd.DataFrame = scores[scores["rung"] == rung].pivot(index=["unit", "patient"], columns="seed", values=score)
    complete: pd.DataFrame = table.dropna()
    return complete


def _difference(scores: pd.DataFrame, rung: str, against: str, score: str) -> Estimate:
    delta = (by_seed(scores, rung, score) - by_seed(scores, against, score)).dropna(axis=1, how="all").dropna()
    return crossed_mean(delta.to_numpy(), list(delta.index.get_level_values("patient")))


def _holm(p: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Adjusted p-values, and the level at which each hypothesis is tested; after the first that stands, at that one's."""
    order, left = np.argsort(p, kind="stable"), np.arange(len(p), 0, -1)
    adjusted, alphas = np.empty(len(p)), np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * left))
    stands = adjusted[order] >= ALPHA
    alphas[order] = ALPHA / (left[np.minimum(np.arange(len(p)), np.argmax(stands))] if stands.any() else left)
    return adjusted.tolist(), alphas.tolist()
