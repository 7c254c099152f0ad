"""Measures of tumour maps against values computed by hand and by other libraries."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from medkd.metrics.tiles import RegionScores, tile_scores


def masks():
    mask, prediction = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    mask[:4, :4], prediction[2:6, :4] = True, True
    return prediction, mask


def test_a_positive_tile():
    found = tile_scores(*masks())
    assert found["f1"] == pytest.approx(2 * 8 / 32)
    assert found["iou"] == pytest.approx(8 / 24)
    assert found["hausdorff"] == pytest.approx(2)
    assert np.isnan(found["background_f1"])


def test_a_negative_tile():
    prediction, mask = masks()
    found = tile_scores(prediction, ~mask & mask)
    assert found["background_f1"] == pytest.approx(2 * 48 / (48 + 64))
    assert found["iou"] == 0
    assert np.isnan(found["f1"])
    assert np.isnan(found["hausdorff"])


def test_what_is_empty_and_should_be_is_perfect():
    empty = np.zeros((8, 8), bool)
    found = tile_scores(empty, empty)
    assert (found["iou"], found["background_f1"]) == (1, 1)


def test_nothing_predicted_has_no_distance():
    _, mask = masks()
    found = tile_scores(~mask & mask, mask)
    assert found["f1"] == 0
    assert np.isnan(found["hausdorff"])


def test_pxap_is_the_average_precision_over_all_pixels_of_all_tiles():
    rng = np.random.default_rng(0)
    region, values, truth = RegionScores(), [], []
    for _ in range(3):
        mask = rng.random((16, 16)) < 0.3
        probability = np.round(np.clip(rng.random((16, 16)) * 0.7 + 0.3 * mask, 0, 1), 3)
        region.step(probability, probability > 0.5, mask)
        values.append(probability.ravel())
        truth.append(mask.ravel())
    expected = average_precision_score(np.concatenate(truth), np.concatenate(values))
    assert region.results()["pxap"] == pytest.approx(expected, abs=1e-9)


def test_a_constant_map_has_the_prevalence():
    prediction, mask = masks()
    region = RegionScores()
    region.step(np.ones(mask.shape), prediction | True, mask)
    assert region.results() == {"iou": pytest.approx(0.25), "pxap": pytest.approx(0.25)}


def test_regions_add_up():
    rng = np.random.default_rng(1)
    parts = []
    for _ in range(2):
        mask, probability = rng.random((8, 8)) < 0.5, rng.random((8, 8))
        parts.append((probability, probability > 0.5, mask))
    apart, together = [RegionScores(), RegionScores()], RegionScores()
    for region, part in zip(apart, parts, strict=True):
        region.step(*part)
        together.step(*part)
    assert (apart[0] + apart[1]).results() == together.results()


def test_no_structure_gives_no_pxap_and_an_iou_that_tells_right_from_wrong():
    """As of a tile: a map that is silent where there is nothing must not drop out of the comparison that it wins."""
    for predicted, iou in ((np.zeros((4, 4), bool), 1), (np.eye(4, dtype=bool), 0)):
        region = RegionScores()
        region.step(np.zeros((4, 4)), predicted, np.zeros((4, 4), bool))
        assert region.results() == {"iou": iou, "pxap": pytest.approx(np.nan, nan_ok=True)}
