"""Clipping really limits the gradients that the optimiser uses."""

import re

import pytest
import torch
from monai.engines.utils import IterationEvents

from medkd.handlers import GradientClipping

_LARGE = 1e4


def huge_loss(output, batch, teacher):
    return {"loss": _LARGE * (output.student.square().mean() + output.teacher.square().mean())}


class Watch:
    """The size of the gradients when the optimiser would get them."""

    def __init__(self):
        self.norms, self.largest = [], []

    def attach(self, engine):
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self)

    def __call__(self, engine):
        gradients = [p.grad for p in engine.network.parameters() if p.grad is not None]
        self.norms.append(float(torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients]))))
        self.largest.append(max(float(g.abs().max()) for g in gradients))


@pytest.fixture
def gradients(new_network, new_trainer):
    """Sizes of the gradients of a training with a clipping, or without one."""

    def run(*handlers, **kwargs):
        watch, network = Watch(), new_network()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
        new_trainer([*handlers, watch], network=network, optimizer=optimizer, loss=huge_loss, **kwargs).run()
        return watch

    return run


def test_the_total_norm_is_limited(gradients):
    assert min(gradients().norms) > 100
    assert gradients(GradientClipping(max_norm=2.0)).norms == pytest.approx([2.0] * 3, rel=1e-3)


def test_small_gradients_are_left_alone(gradients):
    assert gradients(GradientClipping(max_norm=1e9)).norms == gradients().norms


def test_every_element_is_limited(gradients):
    free, clipped = gradients(), gradients(GradientClipping(max_value=0.5))
    assert min(free.largest) > 0.5
    assert clipped.largest == [0.5] * 3
    assert max(clipped.norms) > 0.5  # elements, not the norm


def test_with_accumulation_only_the_gradient_of_a_step_is_clipped(gradients):
    free = gradients(accumulation_steps=2, max_epochs=2)
    clipped = gradients(GradientClipping(max_norm=2.0), accumulation_steps=2, max_epochs=2)
    for number, (norm, unclipped) in enumerate(zip(clipped.norms, free.norms, strict=True)):
        if number in (0, 3):  # the first of two; the third of an epoch is its last and steps alone
            assert norm == unclipped
        else:
            assert norm == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, "None and None"),
        ({"max_norm": 1.0, "max_value": 1.0}, "1.0 and 1.0"),
        ({"max_norm": 0.0}, "0.0 and None"),
        ({"max_value": -1.0}, "None and -1.0"),
    ],
)
def test_exactly_one_positive_limit_is_needed(options, found):
    with pytest.raises(ValueError, match=re.escape(f"give max_norm or max_value, one of them and > 0, got {found}")):
        GradientClipping(**options)


def test_scaled_gradients_are_unscaled_before_they_are_clipped(new_trainer):
    trainer = new_trainer(loss=huge_loss)
    trainer.state.iteration, trainer.state.epoch_length = 1, 1
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=1000.0)
    trainer.scaler.scale(torch.zeros(()))  # its first use sets the scale
    for parameter in trainer.network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    first = next(trainer.network.parameters())
    first.grad.view(-1)[0] = 1000.0  # 1 when unscaled: within the limit
    GradientClipping(max_norm=2.0)(trainer)
    assert first.grad.view(-1)[0] == pytest.approx(1.0)
