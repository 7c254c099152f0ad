"""An item depends on its draw alone: not on what was cached or asked for before."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, get_track_meta, set_track_meta
from monai.transforms import Compose, Lambdad, RandGaussianNoised, RandSpatialCropd, RandZoomd

from medkd.datasets import SeededCacheDataset
from medkd.datasets.seeded_cache import Draw

RANDOM = [RandSpatialCropd("image", (4, 4), random_size=False), RandGaussianNoised("image", prob=0.7)]


def make(strong, weak, transform=(), **options):
    """Strong images first; the i-th holds 100 i + its pixel's number."""
    data = [
        {"image": MetaTensor(100.0 * i + torch.arange(64.0).reshape(1, 8, 8)), "strong": i < strong, "number": i}
        for i in range(strong + weak)
    ]
    return SeededCacheDataset(data, list(transform), group_key="strong", progress=False, num_workers=0, **options)


def test_the_same_draw_gives_the_same_item_whatever_came_before():
    dataset = make(2, 4, RANDOM)
    first = dataset[Draw(3, 11)]["image"]
    for index in range(6):
        dataset[Draw(index, index)]
        dataset[index]
    again, other = dataset[Draw(3, 11)]["image"], dataset[Draw(3, 12)]["image"]
    assert first.shape == (1, 4, 4)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 250 < first.mean() < 400


@pytest.mark.parametrize("cache_num", [0, 2, 6])
def test_items_do_not_depend_on_what_is_cached(cache_num):
    dataset = make(2, 4, RANDOM, cache_num=cache_num)
    expected = make(2, 4, RANDOM)
    assert dataset.first_group == [True, True, False, False, False, False]
    for index in range(6):
        assert torch.equal(dataset[Draw(index, 5)]["image"], expected[Draw(index, 5)]["image"])


def test_the_cache_is_not_changed_by_what_is_done_to_an_item():
    dataset = make(1, 1)
    dataset[Draw(1, 0)]["image"].zero_()
    assert dataset[Draw(1, 0)]["image"].max() == 163


@pytest.mark.parametrize("tracked", [True, False])
def test_metadata_is_dropped_from_random_transforms_and_tracking_is_restored(tracked):
    dataset = make(1, 1, RANDOM)
    before = get_track_meta()
    try:
        set_track_meta(tracked)
        item = dataset[Draw(0, 1)]
        assert get_track_meta() is tracked
    finally:
        set_track_meta(before)
    assert not isinstance(item["image"], MetaTensor)


def test_tracking_is_restored_after_a_failure():
    dataset = make(1, 1, [RandZoomd("absent", prob=1.0)])
    with pytest.raises(RuntimeError, match="applying transform"):
        dataset[Draw(0, 1)]
    assert get_track_meta() is True


def test_a_composed_transform_is_taken_as_it_is_and_plain_functions_are_not_cached():
    calls = []

    def once(values):
        calls.append("cached")
        return values + 1

    def each_time(item):
        calls.append("each time")
        return item | {"image": item["image"] * 2}

    data = [{"image": np.ones(3), "strong": True}]
    dataset = SeededCacheDataset(data, Compose([Lambdad("image", once), each_time]), progress=False, num_workers=0)
    for _ in range(2):
        assert dataset[Draw(0, 1)]["image"].tolist() == [4, 4, 4]
    assert calls == ["cached", "each time", "each time"]
