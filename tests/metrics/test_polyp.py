"""The field's measures against numbers recorded from the authors' evaluation code."""

import sys
from pathlib import Path

import numpy as np
import pytest

from medkd.metrics.polyp import PolypMeasures, to_gray

REFERENCE = Path(__file__).parents[1] / "reference" / "polyp_metrics.npz"
# PySODMetrics counts thresholds from the other side, and follows MATLAB in the S-measure: see docs/methods/kdas.md.
TOLERANCE = {
    **dict.fromkeys(("meanDic", "maxDic", "meanIoU", "maxIoU", "wFm", "mae"), 1e-3),
    **dict.fromkeys(("meanEm", "maxEm"), 3e-3),
    "Sm": 1e-2,
}


def test_scores_agree_with_the_authors_code():
    measures = PolypMeasures()
    with np.load(REFERENCE) as recorded:
        for prediction, mask in zip(recorded["pred"], recorded["gt"], strict=True):
            measures.step(prediction, mask)
        found = measures.results()
        assert found.keys() == {*TOLERANCE, "dice", "iou"}
        for name, tolerance in TOLERANCE.items():
            assert found[name] == pytest.approx(float(recorded[name]), abs=tolerance), name


def test_dice_and_iou_are_those_of_the_map_as_it_is_at_one_half():
    prediction, mask = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    prediction[0], mask[:2, :2] = 128, 255
    prediction[1] = 127  # below a half, though the brightest but one
    measures = PolypMeasures()
    assert measures.step(prediction, mask) == {"dice": 0.5, "iou": pytest.approx(1 / 3)}
    assert measures.results()["dice"] == 0.5


@pytest.mark.parametrize(("found", "expected"), [(0, 1.0), (255, 0.0)])
def test_an_empty_mask_is_met_by_an_empty_prediction_alone(found, expected):
    prediction = np.full((8, 8), found, np.uint8)
    assert PolypMeasures().step(prediction, np.zeros((8, 8), np.uint8)) == {"dice": expected, "iou": expected}


def test_a_probability_of_one_half_is_foreground():
    assert to_gray(np.array([0.0, 0.499, 0.5, 1.0])).tolist() == [0, 127, 128, 255]


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (np.zeros((4, 4), np.float32), r"a prediction of 8 bit \[H, W\], got float32 \(4, 4\)"),
        (np.zeros((4, 4, 3), np.uint8), r"a prediction of 8 bit \[H, W\], got uint8 \(4, 4, 3\)"),
        (np.zeros((4, 5), np.uint8), r"the mask's size \(4, 4\), got \(4, 5\)"),
    ],
)
def test_what_does_not_fit_is_refused(prediction, message):
    with pytest.raises(ValueError, match=message):
        PolypMeasures().step(prediction, np.zeros((4, 4), np.uint8))


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="at least one image to score"):
        PolypMeasures().results()


def test_without_pysodmetrics_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "py_sod_metrics", None)
    with pytest.raises(RuntimeError, match=r"PySODMetrics is missing .*: pip install medkd\[polyp\]"):
        PolypMeasures()
