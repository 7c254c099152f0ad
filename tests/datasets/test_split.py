"""Who is in which section."""

import numpy as np
import pytest

from medkd.datasets.split import split_patients


def test_patients_are_never_divided_and_shares_are_of_images():
    patients = ["a"] * 50 + ["b"] * 20 + ["c"] * 20 + ["d"] * 5 + ["e"] * 5
    for seed in range(5):
        split = split_patients(patients, {"test": 0.3, "validation": 0.1}, seed)
        share = sum(patients.count(name) for name, section in split.items() if section == "test") / len(patients)
        assert 0.05 <= share <= 0.5
        assert set(split.values()) == {"training", "validation", "test"}
    with pytest.raises(ValueError, match=r"leave patients for training, got .* of 1 patients"):
        split_patients(["a"], {"test": 0.5}, 0)


def test_patients_given_once_each_are_shared_out_by_number():
    names = [f"p{number:02d}" for number in range(20)]
    split = split_patients(names, {"test": 0.25, "validation": 0.1}, 3)
    drawn = [names[i] for i in np.random.default_rng(3).permutation(20)]
    assert list(split) == drawn, "in the order in which they were drawn"
    assert [split[name] for name in drawn] == ["test"] * 5 + ["validation"] * 2 + ["training"] * 13


def test_a_small_share_gets_one():
    assert sorted(split_patients(["a", "b"], {"validation": 0.01}, 0).values()) == ["training", "validation"]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_share_of_nothing_or_everything_is_refused(share):
    with pytest.raises(ValueError, match=rf"expected shares in \(0, 1\), got {{'validation': {share}}}"):
        split_patients(["a", "b"], {"validation": share}, 0)
