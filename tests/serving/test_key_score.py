"""Whether a retrained student is better: each bundle's own metric on the same validation data."""

import pytest
import torch

from medkd.bundle.validation import key_score
from medkd.datasets import make_cardiac_phantoms, make_histology_phantoms, make_polyp_phantoms
from medkd.monailabel.promotion import compare

from .conftest import SMALL, small_copy

HEART, POLYP, TISSUE, COMPACT = SMALL
PHANTOMS = {
    HEART: lambda folder: make_cardiac_phantoms(folder, strong=1, weak=0, validation=1, test=1, size=48, slices=2),
    POLYP: lambda folder: make_polyp_phantoms(folder, training=2, validation=2, test=1, size=64),
    COMPACT: lambda folder: make_cardiac_phantoms(folder, strong=1, weak=0, validation=1, test=1, size=48, slices=2),
    TISSUE: lambda folder: make_histology_phantoms(folder, training=4, validation=4, test=2, size=64),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_student_is_scored_by_its_bundle_and_leaves_nothing(name, tmp_path):
    bundle = small_copy(name, tmp_path)
    PHANTOMS[name](bundle / "data")
    before = sorted(bundle.rglob("*"))
    metric, value = key_score(bundle, {"device": "cpu"})
    assert (metric.startswith("val_"), 0 <= value <= 1) == (True, True)
    assert key_score(bundle, {"device": "cpu"}) == (metric, value)
    assert key_score(bundle, {"device": "cpu", "validate#dataset#data": []}) is None
    assert sorted(bundle.rglob("*")) == before


def test_equal_is_not_better(tmp_path):
    bundle = small_copy(HEART, tmp_path)
    PHANTOMS[HEART](bundle / "data")
    for policy, promoted in (("better", False), ("always", True), ("never", False)):
        decision = compare(bundle, bundle, {"device": "cpu"}, policy=policy)
        assert decision["promoted"] is promoted
        assert decision["score"] == decision["present_score"]


def test_weights_that_do_not_fit_are_an_error(tmp_path):
    bundle = small_copy(HEART, tmp_path)
    PHANTOMS[HEART](bundle / "data")
    torch.save({"model": {"other": torch.zeros(1)}}, bundle / "models" / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt"):
        key_score(bundle, {"device": "cpu"})
