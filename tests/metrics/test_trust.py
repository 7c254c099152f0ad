"""Confidence, entropy and islands, against MONAI, torch and a count by hand."""

import numpy as np
import pytest
import torch
from monai.metrics import CalibrationErrorMetric
from monai.metrics.calibration import calibration_binning

from medkd.metrics.trust import calibration_error, entropy_share, islands, overconfidence, reliability


@pytest.fixture
def case():
    """Probabilities of three classes in a volume, and a truth that they know something of."""
    generator = torch.Generator().manual_seed(0)
    probability = torch.randn(1, 3, 12, 10, 8, generator=generator).mul(3).softmax(1)
    probability[0, :, 0, 0] = torch.tensor([0.3, 0.6, 0.1])[:, None]  # bounds of bins
    truth = torch.nn.functional.one_hot(torch.randint(0, 3, (1, 12, 10, 8), generator=generator), 3).movedim(-1, 1)
    return probability, truth.float()


def test_the_bins_are_monai_s(case):
    probability, truth = case
    means, frequency, counts = calibration_binning(probability, truth, num_bins=10)
    for number in range(3):
        table = reliability(probability[0, number].numpy(), truth[0, number].numpy() > 0)
        np.testing.assert_array_equal(table[0], counts[0, number])
        known = table[0] > 0
        np.testing.assert_allclose(table[1][known] / table[0][known], means[0, number][known], rtol=1e-5)
        np.testing.assert_allclose(table[2][known] / table[0][known], frequency[0, number][known], rtol=1e-5)


def test_the_calibration_error_is_monai_s(case):
    probability, truth = case
    metric = CalibrationErrorMetric(num_bins=10, metric_reduction="none")
    metric(y_pred=probability, y=truth)
    ours = [calibration_error(reliability(probability[0, n].numpy(), truth[0, n].numpy() > 0)) for n in range(3)]
    np.testing.assert_allclose(ours, metric.aggregate()[0], rtol=1e-5)


def test_tables_of_parts_add_up_to_that_of_the_whole(case):
    p, t = case[0][0, 1].numpy(), case[1][0, 1].numpy() > 0
    np.testing.assert_allclose(reliability(p[:5], t[:5]) + reliability(p[5:], t[5:]), reliability(p, t))


def test_overconfidence_looks_where_a_class_is_likely():
    probability = np.array([0.01] * 90 + [0.9] * 10)
    sure, right = overconfidence(reliability(probability, np.arange(100) >= 94))
    assert (sure, right) == (pytest.approx(0.9), pytest.approx(0.6))
    assert np.isnan(overconfidence(reliability(np.zeros(4), np.zeros(4, bool)))).all()


def test_nothing_has_no_calibration_error():
    assert np.isnan(calibration_error(np.zeros((3, 10))))


def test_entropy_is_torch_s_as_a_share_of_its_maximum(case):
    probability = case[0][0]
    expected = torch.distributions.Categorical(probs=probability.movedim(0, -1)).entropy() / np.log(3)
    np.testing.assert_allclose(entropy_share(probability.numpy()), expected, atol=1e-6)
    assert entropy_share(np.array([[1.0, 0.5], [0.0, 0.5]])) == pytest.approx([0, 1], abs=1e-6)


def test_islands_are_counted_by_hand():
    truth, found = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    truth[0:2, 0:2] = truth[6:8, 0:2] = True  # two parts
    found[1, 1] = found[2, 2] = True  # one, by its corner, and it touches
    found[0, 6] = found[4, 4] = True  # two that do not
    assert islands(found, truth) == (3, 2, 1)
    assert islands(np.zeros_like(truth), truth) == (0, 0, 2)
