"""Whether a retrained student is better: each bundle's own metric on the same validation data."""

import pytest
import torch

from medkd.bundle.validation import key_score
from medkd.monailabel.promotion import compare
from medkd.networks import PolypPVT

from .conftest import METHODS, edit, small_copy

HEART = "confkd_cardiac_mri_segmentation"


@pytest.mark.parametrize("name", METHODS)
def test_a_student_is_scored_by_its_bundle_and_leaves_nothing(name, tmp_path):
    bundle = small_copy(name, tmp_path)
    METHODS[name].phantoms(bundle / "data")
    before = sorted(bundle.rglob("*"))
    metric, value = key_score(bundle, {"device": "cpu"})
    assert (metric.startswith("val_"), 0 <= value <= 1) == (True, True)
    assert key_score(bundle, {"device": "cpu"}) == (metric, value)
    assert key_score(bundle, {"device": "cpu", "validate#dataset#data": []}) is None
    assert sorted(bundle.rglob("*")) == before


def test_equal_is_not_better(tmp_path):
    bundle = small_copy(HEART, tmp_path)
    METHODS[HEART].phantoms(bundle / "data")
    for policy, promoted in (("better", False), ("always", True), ("never", False)):
        decision = compare(bundle, bundle, {"device": "cpu"}, policy=policy)
        assert decision["promoted"] is promoted
        assert decision["score"] == decision["present_score"]


def test_weights_that_do_not_fit_are_an_error(tmp_path):
    bundle = small_copy(HEART, tmp_path)
    METHODS[HEART].phantoms(bundle / "data")
    torch.save({"model": {"other": torch.zeros(1)}}, bundle / "models" / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt"):
        key_score(bundle, {"device": "cpu"})


def test_another_network_is_scored_as_its_file_describes_it(tmp_path):
    """A teacher beside its student, as ``medkd efficiency BUNDLE=TEACHER.pt`` compares them."""
    bundle = small_copy("kdas_polyp_segmentation", tmp_path)
    METHODS["kdas_polyp_segmentation"].phantoms(bundle / "data")
    network = {"_target_": "medkd.networks.PolypPVT", "backbone": "lite0_tiny", "channels": 16}
    teacher = tmp_path / "teacher.pt"
    torch.manual_seed(0)
    weights = PolypPVT("lite0_tiny", channels=16).state_dict()
    torch.save({"model": weights, "settings": {"network_def": network}}, teacher)
    found = key_score(bundle, {"device": "cpu"}, model=teacher)
    edit(bundle / "configs" / "train.yaml", network_def=network)
    torch.save({"model": weights}, bundle / "models" / "model.pt")
    assert key_score(bundle, {"device": "cpu"}) == found
