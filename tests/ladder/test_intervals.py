"""Intervals over patients and seeds, against the paired t-test, statsmodels 0.15.0 and what they must cover."""

import numpy as np
import pytest
from scipy import stats

from medkd.ladder.intervals import Comparison, compare, crossed_mean

from .tables import table

LOW, HIGH = np.array([0.5, 0.6, 0.7, 0.4]), np.array([0.7, 0.7, 0.95, 0.5])
# Differences of 12 patients with 4 seeds (in thousandths), as they went into statsmodels.
DELTA = np.array([
    [-20, -47, 25, 59, -14, 1, 37, 58, 10, -6, 18, 45],
    [3, -8, 24, 68, -5, 25, 42, 6, 69, 10, 38, 38],
    [-37, -41, -34, 24, 21, -16, 5, 42, 33, -17, 42, 38],
    [-37, -22, -7, 33, -29, -19, 18, 15, -19, -12, -12, -1],
]).T / 1000  # fmt: skip


def difference(scores, rung="high", against="low"):
    (found,) = compare(scores, [(rung, against)])
    return found


def test_with_one_seed_the_interval_is_that_of_the_paired_t_test():
    found, expected = difference(table(low=[LOW], high=[HIGH])), stats.ttest_rel(HIGH, LOW)
    assert found.difference == pytest.approx(0.1625)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.p == pytest.approx(expected.pvalue)
    assert found.verdict == "better"
    assert difference(table(low=[LOW], high=[HIGH]), "low", "high").verdict == "worse"


def test_patients_and_seeds_are_paired_by_name():
    scores = table(low=[LOW, LOW + 0.1], high=[HIGH, HIGH + 0.1]).sample(frac=1, random_state=0)
    found, expected = difference(scores), crossed_mean(np.stack([HIGH - LOW] * 2, 1), list("abcd"))
    assert (found.low, found.high) == pytest.approx(expected.interval())
    assert difference(table(low=[LOW, LOW + 0.1], high=[HIGH + 0.1, HIGH])).low < found.low - 0.1


def test_the_seeds_widen_the_interval():
    """One seed says +0.4, the other −0.1: averaged over the seeds, the patients alone would be sure."""
    found = difference(table(low=[LOW, LOW], high=[LOW + 0.4, LOW - 0.1]))
    assert found.difference == pytest.approx(0.15)
    assert found.low < 0 < found.high
    assert found.verdict == "undecided"


def test_the_variance_is_that_of_a_mixed_model():
    """MixedLM (REML, crossed random effects of patient and seed): standard error and residual variance.

    Ours counts the residual once with the patients and once with the seeds, and so once more.
    """
    error, residual = 0.009411527920869958, 0.0003449314338961163
    found = crossed_mean(DELTA, [str(number) for number in range(12)])
    assert found.mean == pytest.approx(0.00925)
    assert found.error**2 - residual / DELTA.size == pytest.approx(error**2, rel=1e-4)


def test_units_of_a_patient_are_clustered():
    """CR2 and Bell and McCaffrey's degrees of freedom of a regression on a constant, from their definitions as matrices."""
    names = np.array(list("aaabbcddddef"))
    values, ones = DELTA[:, 0], np.ones((len(names), 1))
    hat = ones @ ones.T / len(names)
    rows = []
    for name in sorted(set(names)):
        own = names == name
        values_of, vectors = np.linalg.eigh(np.eye(own.sum()) - hat[np.ix_(own, own)])
        adjusted = vectors @ np.diag(values_of**-0.5) @ vectors.T
        rows.append(ones[own].T @ adjusted @ (np.eye(len(names)) - hat)[own] / len(names))
    rows = np.concatenate(rows)
    products = rows @ rows.T
    found = crossed_mean(DELTA[:, :1], list(names))
    assert found.error**2 == pytest.approx(float(((rows @ values) ** 2).sum()))
    assert found.degrees == pytest.approx(np.trace(products) ** 2 / (products**2).sum())


def test_equal_numbers_of_units_are_as_statsmodels_has_them():
    """There CR2 is CR1: OLS of a constant with ``cov_type="cluster"`` is the paired t-test over the patients' means."""
    found = crossed_mean(DELTA[:, :1], list("aabbccddeeff"))
    test = stats.ttest_1samp(DELTA[:, 0].reshape(6, 2).mean(1), 0)
    assert found.interval() == pytest.approx(tuple(test.confidence_interval()))


def test_a_few_patients_of_most_images_are_few_patients():
    """GlaS's test images: 7 patients, two of whom have two thirds. With G − 1 degrees of freedom 85 of 100 were covered."""
    rng, covered = np.random.default_rng(0), 0
    sizes = [18, 16, 8, 3, 2, 1, 1]
    names = [str(number) for number, size in enumerate(sizes) for _ in range(size)]
    for _ in range(500):
        effects = np.repeat(rng.normal(0, 1, len(sizes)), sizes)[:, None]
        low, high = crossed_mean(effects + rng.normal(0, 1, (len(names), 3)), names).interval()
        covered += low < 0 < high
    assert covered / 500 > 0.92


@pytest.mark.parametrize(("seed_sd", "least"), [(0.0, 0.94), (0.3, 0.94), (1.0, 0.90)])
def test_the_interval_covers_the_truth_with_three_seeds(seed_sd, least):
    """Simulated differences of mean 0; patients and residual have SD 1. The paired t-test covers .65 in the last case."""
    rng, covered = np.random.default_rng(5), 0
    for _ in range(500):
        values = rng.normal(0, seed_sd, (1, 3)) + rng.normal(0, 1, (16, 1)) + rng.normal(0, 1, (16, 3))
        low, high = crossed_mean(values, [str(number) for number in range(16)]).interval()
        covered += low < 0 < high
    assert least <= covered / 500 <= 0.99


def test_holm_is_that_of_statsmodels():
    """``multipletests([.01, .04, .03, .005, .2], method="holm")``."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=8)
    shape = base - base.mean()
    rungs, wanted = {"low": [np.zeros(8)]}, [0.01, 0.04, 0.03, 0.005, 0.2]
    for number, p in enumerate(wanted):  # differences whose paired t-test has this p-value
        shift = stats.t.isf(p / 2, 7) * shape.std(ddof=1) / np.sqrt(8)
        rungs[f"rung{number}"] = [shape + shift]
    found = compare(table(**rungs), [(f"rung{number}", "low") for number in range(5)])
    assert [claim.p for claim in found] == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.2])
    assert [claim.verdict == "better" for claim in found] == [claim.p < 0.05 for claim in found]
    alone = [difference(table(**rungs), f"rung{number}") for number in range(5)]
    assert [claim.verdict for claim in alone] == ["better"] * 4 + ["undecided"]
    level = [stats.t.cdf((c.difference - c.low) / (shape.std(ddof=1) / np.sqrt(8)), 7) for c in found]
    assert [2 * (1 - share) for share in level] == pytest.approx([0.05 / left for left in (4, 3, 3, 5, 3)])


def test_one_patient_decides_nothing():
    found = difference(table(low=[[0.1]], high=[[0.9]]))
    assert (found.difference, found.low, found.high) == (pytest.approx(0.8), -np.inf, np.inf)
    assert (found.p, found.verdict) == (1, "undecided")


def test_equal_differences_have_an_interval_without_width():
    found = difference(table(low=[[0.25, 0.5]], high=[[0.5, 0.75]]))
    assert (found.low, found.difference, found.high, found.p) == (0.25, 0.25, 0.25, 0)
    assert difference(table(low=[[0.25, 0.5]], high=[[0.25, 0.5]])).p == 1


def test_nothing_in_common_is_undecided():
    found = difference(table(low=[[np.nan, 0.5]], high=[[0.5, np.nan]]))
    assert np.isnan(found.difference)
    assert found.verdict == "undecided"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 0.2, "better"), (-0.2, -0.1, "worse"), (-0.1, 0.1, "undecided"), (0, 1, "undecided")],
)
def test_the_verdict_is_whether_the_interval_excludes_0(low, high, verdict):
    assert Comparison("a", "b", (low + high) / 2, low, high, 0.5).verdict == verdict


@pytest.mark.parametrize(
    ("shift", "verdict"), [(0.0, "not inferior"), (-0.2, "undecided"), (-0.6, "inferior"), (-0.04, "not inferior")]
)
def test_a_margin_is_tested_on_one_side(shift, verdict):
    """The t-test of the differences against −0.05, as scipy has it."""
    scores = table(low=[LOW], high=[HIGH + shift])
    (found,) = compare(scores, [("high", "low")], margins=[0.05])
    delta = HIGH + shift - LOW
    assert found.verdict == verdict
    assert found.difference == pytest.approx(delta.mean())
    assert found.p == pytest.approx(stats.ttest_1samp(delta, -0.05).pvalue)
    above, below = (stats.ttest_1samp(delta, -0.05, alternative=side).pvalue < 0.025 for side in ("greater", "less"))
    assert (above, below) == (verdict == "not inferior", verdict == "inferior")


def test_several_margins_are_corrected_like_several_claims():
    scores = table(low=[LOW], high=[HIGH], other=[HIGH - 0.2])
    alone = [compare(scores, [(rung, "low")], margins=[0.05])[0] for rung in ("high", "other")]
    both = compare(scores, [("high", "low"), ("other", "low")], margins=[0.05, 0.05])
    assert both[0].p == pytest.approx(2 * alone[0].p)
    assert both[0].low < alone[0].low
    assert both[1].p == pytest.approx(alone[1].p)
