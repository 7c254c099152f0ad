"""Batches of two groups: how many of each, in what order, whatever the number of processes and workers."""

import pytest
import torch
from monai.transforms import Lambdad
from torch.utils.data import DataLoader

from medkd.datasets import SeededCacheDataset, TwoGroupBatchSampler

from .test_seeded_cache import RANDOM, make


def indices(batches):
    return [[draw.number for draw in batch] for batch in batches]


def test_one_strong_image_and_a_batch_of_eight():
    sampler = TwoGroupBatchSampler(make(1, 10), batch_size=8)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 2  # 11 images in eights
    assert [sum(i == 0 for i in batch) for batch in indices(batches)] == [4] * 2


def test_groups_that_the_datalist_tells_are_known_without_loading():
    def load(path):
        raise AssertionError(f"{path} was loaded")

    data = [{"image": "slide.svs", "label": int(number % 3 == 0)} for number in range(6)]
    made = SeededCacheDataset(data, [Lambdad("image", load)], group_key="label", cache_rate=0.0, progress=False)
    assert [sum(i in (0, 3) for i in batch) for batch in indices(TwoGroupBatchSampler(made, batch_size=4))] == [2, 2]


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 1.0])
def test_an_epoch_is_as_long_whatever_the_share_of_strong_images(fraction):
    assert len(TwoGroupBatchSampler(make(2, 12), batch_size=4, first_fraction=fraction)) == 4


def test_each_group_is_gone_through_before_it_is_repeated():
    batches = indices(TwoGroupBatchSampler(make(2, 12), batch_size=4, epoch_length=6))
    weak = [i for batch in batches for i in batch if i >= 2]
    assert sorted(weak) == list(range(2, 14))
    assert all(sorted(batch[:2]) == [0, 1] for batch in batches)


def test_draws_of_one_image_have_different_seeds():
    draws = [draw for batch in TwoGroupBatchSampler(make(1, 10), batch_size=8, epoch_length=20) for draw in batch]
    assert len({draw.seed for draw in draws}) == len(draws)


@pytest.mark.parametrize(
    ("fraction", "batch_size", "expected"),
    [(0.5, 8, 4), (0.25, 8, 2), (0.01, 8, 1), (0.99, 8, 7), (0.5, 2, 1), (1.0, 8, 8), (0.0, 8, 0)],
)
def test_the_share_of_strong_images_is_kept_and_either_group_has_one_at_least(fraction, batch_size, expected):
    sampler = TwoGroupBatchSampler(make(3, 9), batch_size=batch_size, first_fraction=fraction, epoch_length=5)
    assert [sum(i < 3 for i in batch) for batch in indices(sampler)] == [expected] * 5
    assert all(len(batch) == batch_size for batch in sampler)


@pytest.mark.parametrize(("strong", "weak", "fraction"), [(5, 0, 0.5), (5, 0, 0.0), (0, 5, 0.0)])
def test_with_one_group_alone_the_batch_is_filled_from_it(strong, weak, fraction):
    batches = indices(TwoGroupBatchSampler(make(strong, weak), batch_size=2, first_fraction=fraction))
    assert [len(batch) for batch in batches] == [2, 2, 2]
    assert {i for batch in batches for i in batch} == set(range(5))


@pytest.mark.parametrize(("strong", "weak", "expected"), [(3, 9, 4), (0, 9, 0), (3, 0, 8)])
def test_without_a_share_it_is_a_half_where_there_are_both(strong, weak, expected):
    sampler = TwoGroupBatchSampler(make(strong, weak), batch_size=8, first_fraction=None)
    assert [sum(i < strong for i in batch) for batch in indices(sampler)] == [expected] * len(sampler)


def test_no_strong_image_is_refused_unless_none_is_asked_for():
    expected = "at least one image whose 'strong' is true for a share of 0.5 of every batch, found none among 4; label"
    with pytest.raises(ValueError, match=expected):
        TwoGroupBatchSampler(make(0, 4), batch_size=2)


def test_a_batch_too_small_for_both_groups_is_refused():
    with pytest.raises(ValueError, match=r"expected batch_size >= 2 for images of both groups .*0\.5.*, got 1"):
        TwoGroupBatchSampler(make(1, 1), batch_size=1)


def test_an_empty_dataset_is_refused():
    with pytest.raises(ValueError, match="expected at least one image to train on, found none"):
        TwoGroupBatchSampler(make(0, 0), batch_size=2)


@pytest.mark.parametrize(("batch_size", "fraction"), [(0, 0.5), (2, -0.1), (2, 1.1)])
def test_options_out_of_range_are_refused(batch_size, fraction):
    expected = rf"batch_size >= 1 and first_fraction in \[0, 1\], got {batch_size} and {fraction}"
    with pytest.raises(ValueError, match=expected):
        TwoGroupBatchSampler(make(1, 1), batch_size=batch_size, first_fraction=fraction)


def test_processes_keep_the_ratio_and_share_the_epoch_out():
    dataset = make(4, 12)
    assert len(TwoGroupBatchSampler(dataset, batch_size=4, num_replicas=2, rank=0)) == 2
    options = {"batch_size": 4, "num_replicas": 2, "epoch_length": 3}
    ranks = [TwoGroupBatchSampler(dataset, rank=rank, **options) for rank in range(2)]
    batches = [indices(sampler) for sampler in ranks]
    for own in batches:
        assert [sum(i < 4 for i in batch) for batch in own] == [2, 2, 2]
    weak = [{i for batch in own for i in batch if i >= 4} for own in batches]
    assert weak[0].isdisjoint(weak[1])
    assert weak[0] | weak[1] == set(range(4, 16))
    for first, second in zip(*batches, strict=True):  # a pass over the strong images is one batch of both processes
        assert set(first[:2]) | set(second[:2]) == {0, 1, 2, 3}
    seeds = [{draw.seed for batch in sampler for draw in batch} for sampler in ranks]
    assert seeds[0].isdisjoint(seeds[1])


@pytest.mark.parametrize(("size", "processes"), [(4, 2), (3, 2), (7, 2), (5, 3)])  # six images in two threes are 3 + 3
@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 1.0])
def test_the_processes_together_draw_what_one_would_in_larger_batches(fraction, size, processes):
    dataset, options = make(4, 12), {"first_fraction": fraction, "epoch_length": 5}
    alone = TwoGroupBatchSampler(dataset, batch_size=size * processes, num_replicas=1, rank=0, **options)
    several = [
        TwoGroupBatchSampler(dataset, batch_size=size, num_replicas=processes, rank=rank, **options)
        for rank in range(processes)
    ]
    for batches in zip(*several, strict=True):
        assert [len(batch) for batch in batches] == [size] * processes
        if fraction in (0.25, 0.5):  # a process without either would not train all its parameters
            assert all({draw.number < 4 for draw in batch} == {True, False} for batch in batches)

    def drawn(*batches):
        return sorted((draw.number, draw.seed) for batch in batches for draw in batch)

    assert [drawn(*batches) for batches in zip(*several, strict=True)] == [drawn(batch) for batch in alone]


def test_seed_and_epoch_decide_the_batches():
    dataset = make(2, 12)

    def draws(seed, epoch):
        sampler = TwoGroupBatchSampler(dataset, batch_size=4, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert draws(7, 3) == draws(7, 3)
    assert draws(7, 3) != draws(7, 4)
    assert indices(draws(7, 3)) != indices(draws(7, 4))
    assert indices(draws(7, 3)) != indices(draws(8, 3))


def test_iterating_again_gives_the_same_epoch():
    sampler = TwoGroupBatchSampler(make(2, 6), batch_size=4)
    assert list(sampler) == list(sampler)


def test_batches_do_not_depend_on_the_number_of_workers():
    dataset = make(2, 6, RANDOM)
    batches = [
        list(
            DataLoader(dataset, batch_sampler=TwoGroupBatchSampler(dataset, batch_size=4, seed=2), num_workers=workers)
        )
        for workers in (0, 2)
    ]
    assert len(batches[0]) == 2
    for alone, shared in zip(*batches, strict=True):
        assert torch.equal(alone["number"], shared["number"])
        assert torch.equal(alone["image"], shared["image"])
        assert alone["image"].shape == (4, 1, 4, 4)
        assert alone["strong"].tolist() == [True, True, False, False]


@pytest.mark.parametrize("rank", [-1, 2])
def test_a_process_beyond_the_number_of_processes_is_refused(rank):
    with pytest.raises(ValueError, match=rf"expected rank in \[0, 2\), the number of processes, got {rank}"):
        TwoGroupBatchSampler(make(1, 1), batch_size=2, num_replicas=2, rank=rank)
