"""The authors' weights, by one word."""

from pathlib import Path

import pytest
from monai.bundle import ConfigParser

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
# As their papers and released codes give them.
PAPER = {
    "confkd_cardiac_mri_segmentation": {"ce_weight": 1, "pce_weight": 0.1, "kl_weight": 50, "entropy_weight": 1},
    "kdas_polyp_segmentation": {"alpha": 0.3, "attention_weight": 1, "symmetric_weight": 1},
}


def loss(bundle, **settings):
    parser = ConfigParser()
    parser.read_config(str(BUNDLES / bundle / "configs" / "train.yaml"))
    parser.update(settings)
    return parser.get_parsed_content("loss")


@pytest.mark.parametrize("bundle", PAPER)
def test_one_word_gives_the_authors_weights(bundle):
    for name, value in PAPER[bundle].items():
        assert getattr(loss(bundle, weights="paper"), name) == value
    ours = loss(bundle)
    assert any(getattr(ours, name) != value for name, value in PAPER[bundle].items())
    assert ours.variant == loss(bundle, weights="paper").variant == "paper"


@pytest.mark.parametrize("bundle", PAPER)
def test_one_weight_may_still_be_set(bundle):
    name = list(PAPER[bundle])[1]
    assert getattr(loss(bundle, weights="paper", **{name: 0.25}), name) == 0.25


@pytest.mark.parametrize("bundle", PAPER)
def test_another_word_is_refused(bundle):
    with pytest.raises(RuntimeError) as caught:
        loss(bundle, weights="papers")
    reasons, error = [], caught.value
    while error:
        reasons.append(str(error))
        error = error.__cause__
    assert "weights: expected one of ours, paper, found 'papers'" in reasons
