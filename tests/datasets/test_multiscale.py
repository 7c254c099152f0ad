"""Every batch at every scale, and nothing else changed."""

import pytest
import torch
from torch.utils.data import DataLoader

from medkd.datasets.multiscale import MultiScaleLoader


def loader(size=(64, 96)):
    items = [{"image": torch.rand(3, *size), "label": torch.ones(1, *size), "number": i} for i in range(4)]
    return DataLoader(items, batch_size=2)


def test_every_batch_comes_at_every_scale_in_multiples_of_32():
    batches = list(MultiScaleLoader(loader()))
    assert len(batches) == len(MultiScaleLoader(loader())) == 6
    sizes = [tuple(batch["image"].shape[2:]) for batch in batches]
    assert sizes == [(64, 64), (64, 96), (64, 128)] * 2
    assert all(batch["label"].shape[2:] == batch["image"].shape[2:] for batch in batches)
    assert [batch["number"].tolist() for batch in batches] == [[0, 1]] * 3 + [[2, 3]] * 3


def test_at_scale_one_a_batch_is_passed_on():
    source = loader()
    for given, found in zip(source, MultiScaleLoader(source, scales=[1.0]), strict=True):
        assert torch.equal(given["image"], found["image"])


def test_a_small_image_never_vanishes():
    (batch, *_) = MultiScaleLoader(loader((32, 32)), scales=[0.1])
    assert batch["image"].shape[2:] == (32, 32)


def test_the_trainer_finds_the_batch_sampler():
    source = loader()
    assert MultiScaleLoader(source).batch_sampler is source.batch_sampler


@pytest.mark.parametrize("scales", [[], [0.5, 0]])
def test_scales_out_of_range_are_refused(scales):
    with pytest.raises(ValueError, match="expected scales > 0, at least one"):
        MultiScaleLoader(loader(), scales=scales)


def test_sides_that_are_no_multiples_are_refused_and_not_rounded():
    loader = MultiScaleLoader(DataLoader([{"image": torch.zeros(3, 40, 64)}]), scales=[1.0], keys=["image"])
    with pytest.raises(ValueError, match=r"expected sides that are multiples of 32, got \(40, 64\); set image_size"):
        next(iter(loader))
