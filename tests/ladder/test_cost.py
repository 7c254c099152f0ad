"""How long trainings took, over stops and continuations."""

import time

import numpy as np
import pandas as pd
import pytest

from medkd.ladder.cost import kept_minutes, minutes, ratios, timed


def train(folder, seconds, *, begun, error=None):
    with timed(folder, begun=begun):
        time.sleep(seconds)
        if error:
            raise error


def test_the_parts_of_a_training_add_up_however_they_end(tmp_path):
    started = time.monotonic()
    with pytest.raises(SystemExit):
        train(tmp_path, 0.2, begun=False, error=SystemExit(130))
    with pytest.raises(ValueError, match="broken"):
        train(tmp_path, 0.3, begun=True, error=ValueError("broken"))
    train(tmp_path, 0.1, begun=True)
    assert 0.599 <= kept_minutes(tmp_path) * 60 <= time.monotonic() - started


def test_of_a_training_with_an_unknown_part_nothing_is_kept(tmp_path):
    train(tmp_path, 0, begun=True)  # begun when nobody measured it
    assert np.isnan(kept_minutes(tmp_path))


def test_a_process_that_vanishes_leaves_nothing_to_add_to(tmp_path):
    train(tmp_path, 0, begun=False)
    with timed(tmp_path, begun=True):
        assert list(tmp_path.iterdir()) == []


def test_a_training_anew_counts_from_zero(tmp_path):
    train(tmp_path, 0.2, begun=False)
    train(tmp_path, 0, begun=False)
    assert kept_minutes(tmp_path) < 0.2 / 60


SCORES = pd.DataFrame(
    [
        (rung, seed, unit, taken)
        for rung, seed, taken in [("a", 0, 2.0), ("a", 1, 4.0), ("b", 0, 1.0), ("b", 1, np.nan), ("c", 0, np.nan)]
        for unit in "pq"
    ],
    columns=["rung", "seed", "unit", "minutes"],
)


@pytest.mark.parametrize(
    ("rungs", "others", "times"),
    [(["a"], ["b"], 2), (["b"], ["a"], 0.5), (["b", "a"], ["a"], 1.5), (["a"], ["c"], np.nan), (["a"], ["d"], np.nan)],
)
def test_rungs_are_compared_over_the_seeds_of_which_all_are_known(rungs, others, times):
    assert ratios(minutes(SCORES), rungs, others).median() == pytest.approx(times, nan_ok=True)


def test_scores_without_times_have_none():
    assert ratios(minutes(SCORES.drop(columns="minutes")), ["a"], ["b"]).empty
