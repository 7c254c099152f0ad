"""Weights of a loss that rise over the first epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events

__all__ = ["RampUp"]


class RampUp:
    """Set attributes of a loss at the start of every epoch: from 0 linearly to their values, and then these.

    What MONAI's ``ParamSchedulerHandler`` computes with ``value_calculator: linear``, for several attributes and without
    a function in the configuration for each. It follows from the epoch alone, so that a resumed training has it too.

    Args:
        loss: whose attributes are set.
        weights: their names and final values.
        epochs: the epoch from which the values are final, >= 1.
    """

    def __init__(self, loss: Any, weights: Mapping[str, float], *, epochs: int) -> None:
        self.loss = loss
        self.weights = dict(weights)
        self.epochs = epochs

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Set the weights of the epoch."""
        for name, value in self.weights.items():
            rising = value / self.epochs * engine.state.epoch
            setattr(self.loss, name, value if engine.state.epoch > self.epochs else rising)
