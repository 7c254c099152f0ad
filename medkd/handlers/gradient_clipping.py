"""Clip gradients between the backward pass and the optimiser's step."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents

__all__ = ["GradientClipping"]


class GradientClipping:
    """Limit the gradients of a trainer's network, by their total norm or element by element.

    Under mixed precision the gradients are unscaled first; with gradient accumulation only the gradient that a step
    will use is clipped.

    Args:
        max_norm: largest allowed L2 norm of all gradients together, > 0.
        max_value: largest allowed absolute value of each element, > 0.

    Raises:
        ValueError: unless exactly one of the two is given and positive.
    """

    def __init__(self, max_norm: float | None = None, max_value: float | None = None) -> None:
        limit = max_value if max_norm is None else max_norm
        if (max_norm is None) == (max_value is None) or limit is None or limit <= 0:
            raise ValueError(f"give max_norm or max_value, one of them and > 0, got {max_norm} and {max_value}")
        self.max_norm = max_norm
        self.max_value = max_value

    def attach(self, engine: Engine) -> None:
        """Register with a trainer that has ``network`` and ``optimizer``."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        """Clip, if this iteration ends with a step."""
        if not _steps_now(engine):
            return
        if engine.scaler is not None:
            engine.scaler.unscale_(engine.optimizer)
        if self.max_norm is not None:
            torch.nn.utils.clip_grad_norm_(engine.network.parameters(), self.max_norm)
        else:
            torch.nn.utils.clip_grad_value_(engine.network.parameters(), self.max_value or 0.0)


def _steps_now(engine: Any) -> bool:
    """Whether the optimiser will step in this iteration (the last of an epoch always does)."""
    position = (engine.state.iteration - 1) % (engine.state.epoch_length or engine.state.iteration + 1) + 1
    return bool(position % engine.accumulation_steps == 0 or position == engine.state.epoch_length)
