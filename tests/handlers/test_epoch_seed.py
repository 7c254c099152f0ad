"""Randomness as a function of the seed and the epoch."""

import random

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.utils import set_determinism

from medkd.handlers import EpochSeed


@pytest.fixture(autouse=True)
def _free_generators():
    yield
    set_determinism(seed=None)


def draw():
    return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002


def numbers(seed, *, epochs=2, start=0, rank=0):
    """What Python, NumPy and PyTorch draw in each epoch."""
    drawn = []
    engine = Engine(lambda engine, item: drawn.append(draw()))
    engine.state.rank = rank

    def skip(engine):
        engine.state.epoch = start

    engine.add_event_handler(Events.STARTED, skip)
    EpochSeed(seed).attach(engine)
    engine.run([0], max_epochs=epochs)
    return drawn


def test_the_same_seed_gives_the_same_numbers_in_the_same_epoch():
    first = numbers(3)
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    torch.manual_seed(99)
    assert numbers(3) == first


def test_a_training_that_starts_later_goes_on_with_the_same_numbers():
    assert numbers(3, epochs=4, start=2) == numbers(3, epochs=4)[2:]


def test_workers_that_stay_change_nothing():
    """They draw a seed when they are begun: in the first epoch of an uninterrupted training, and in that after a stop."""

    def run(start):
        loader = torch.utils.data.DataLoader([0, 1, 2], num_workers=1, persistent_workers=True)
        drawn = []
        engine = Engine(lambda engine, item: drawn.append((engine.state.epoch, torch.rand(()).item())))
        engine.add_event_handler(Events.STARTED, lambda engine: setattr(engine.state, "epoch", start))
        EpochSeed(3).attach(engine)
        engine.run(loader, max_epochs=3, epoch_length=3)
        return drawn

    assert run(1) == run(0)[3:]


def test_epochs_seeds_and_processes_have_their_own_numbers():
    drawn = [*numbers(3), *numbers(4), *numbers(3, rank=1)]
    for values in zip(*drawn, strict=True):
        assert len(set(values)) == 6


def test_a_large_seed_is_folded_into_the_range_of_numpy():
    assert len(numbers(2**31)) == 2
