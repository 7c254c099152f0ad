"""What a report computes, against values from elsewhere."""

import numpy as np
import pytest

from medkd.report import Limits, read_material
from medkd.report.numbers import agreement, calibration, coverage, islands, shares

from .planted import plant


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return read_material(plant(tmp_path_factory.mktemp("numbers") / "ladder", bad="p07", sure=0.95, right=0.8))


def test_calibration_pools_cases_and_seeds(material):
    found = calibration(material, "pixel")
    assert found.table[0].sum() == 2 * 12 * 21_000
    assert (found.sure, found.right) == (pytest.approx(0.95), pytest.approx(0.8))
    assert found.error == pytest.approx((20 * 0.01 + 0.15) / 21)  # background of 1 % that is never there, foreground


def test_coverage_finds_the_planted_error(material):
    """The entropy was planted as the error itself: leaving out the least certain is leaving out the worst."""
    found = coverage(material, "pixel")
    np.testing.assert_allclose(found.risk, found.best)
    assert found.found == pytest.approx(1)
    dice = material.cases[material.cases["network"] == "pixel"].groupby("number")["dice"].mean().sort_values()
    assert found.risk[-1] == pytest.approx(1 - dice.mean())
    assert found.gain == pytest.approx(dice.iloc[2:].mean() - dice.mean())  # 80 % of 12 are 10


def test_agreement_is_bland_and_altman_s(material):
    own = (
        material.trust[material.trust["network"] == "pixel"]
        .groupby("number")[["predicted_volume", "truth_volume"]]
        .mean()
    )
    difference = own["predicted_volume"] - own["truth_volume"]
    found = agreement(material, "pixel", "polyp")
    assert found.bias == pytest.approx(difference.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * difference.std(ddof=1))
    assert found.unit == "pixels"


def test_one_case_of_twelve_failed(material):
    found = shares(material, "pixel", Limits(least_dice=0.5, most_distance=20))
    assert found["low"] == found["far"] == pytest.approx(1 / 12)  # HD95 was planted as 60 (1 − Dice)
    assert islands(material, "pixel") == {
        "false_islands": pytest.approx(1 / 12),
        "missed_islands": 0,
        "share": pytest.approx(1 / 12),
    }
