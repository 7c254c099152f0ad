"""The threshold at which a share of the pixels of negative images is foreground, against numpy's quantile."""

import re

import numpy as np
import pytest
import torch
from ignite.engine import Engine

from medkd.metrics.calibration import CalibratedThreshold


def calibrate(maps, labels, epochs=1, **options):
    """What a validation of these maps sets."""
    engine = Engine(lambda engine, batch: [{"pred": item["map"]} for item in batch])
    CalibratedThreshold(**options).attach(engine, "threshold")
    batch = [{"map": torch.as_tensor(m).float(), "label": torch.tensor(n)} for m, n in zip(maps, labels, strict=True)]
    engine.run([batch[:1], batch[1:]], max_epochs=epochs)
    return engine.state.metrics["threshold"]


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("power", [1, 8, 0.02])  # levels as they are, near 0, near 1
def test_it_is_the_quantile_of_negative_images(power, share):
    maps = np.random.default_rng(0).random((6, 1, 40, 30)) ** power
    labels = [0, 1, 0, 0, 1, 0]
    negative = maps[[0, 2, 3, 5]].astype(np.float32)
    found = calibrate(maps, labels, epochs=2, false_positive_rate=share)
    assert found == pytest.approx(np.quantile(negative, 1 - share), rel=1e-3)
    assert share - 0.002 <= (negative >= found).mean() <= share


def test_the_positive_images_do_not_count():
    maps = np.stack([np.linspace(0, 1, 100).reshape(1, 10, 10), np.ones((1, 10, 10))])
    assert calibrate(maps, [0, 1]) == pytest.approx(0.95, rel=1e-2)


def test_pixels_of_one_level_are_all_foreground_or_none():
    """A tenth at 0.3: the threshold lies above it, not on it."""
    level = np.float32([0.1] * 90 + [0.3] * 10).reshape(1, 10, 10)
    assert 0.3 < calibrate([level, level], [0, 0]) < 0.3002
    assert 0.1 < calibrate([level, level], [0, 0], false_positive_rate=0.1) < 0.1001


def test_without_negative_images_it_is_a_half_and_says_so(caplog):
    assert calibrate(np.ones((2, 1, 4, 4)), [1, 1]) == 0.5
    assert "threshold: expected negative validation images to calibrate it by, found none: it is 0.5." in caplog.text


def test_maps_without_a_level_keep_the_threshold_in_its_range(caplog):
    assert calibrate(np.zeros((2, 1, 4, 4)), [0, 0]) == pytest.approx(2**-20, rel=1e-4)
    assert not caplog.text
    assert calibrate(np.ones((2, 1, 4, 4)), [0, 0]) == 1 - 1e-6
    assert "threshold: 100 % of the pixels of negative images are at 1." in caplog.text


def test_a_number_overrides():
    assert calibrate(np.zeros((2, 1, 4, 4)), [0, 0], threshold="0.25") == 0.25


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": "automatic"}, "threshold: expected a number in (0, 1) or \"auto\", found 'automatic'"),
        ({"threshold": 1}, 'threshold: expected a number in (0, 1) or "auto", found 1'),
        ({"false_positive_rate": 5}, "false_positive_rate: expected a number in (0, 1), found 5"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        CalibratedThreshold(**options)
