"""Stop a training whose loss is no number, before anything of its epoch is kept."""

from __future__ import annotations

import logging
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor

__all__ = ["FiniteLoss"]

_logger = logging.getLogger(__name__)


class FiniteLoss:
    """Ends a training with an error at the first loss that is NaN or infinite; the saves before it stay.

    On a CPU at once; on other devices at the end of the epoch, so that no step waits for one. With a scaler of gradients, which
    leaves out such steps by itself, it is the last step of an epoch that counts. The log names the images of the step; the error
    does not, for it may be sent elsewhere.

    Raises:
        RuntimeError: during training, with the step, the epoch, and what may help.
    """

    def __init__(self) -> None:
        self._first: Tensor | None = None  # step of the epoch, on the device; 0: none

    def attach(self, engine: Engine) -> None:
        """Register with a trainer, before what keeps or validates its network."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._look)

    def __call__(self, engine: Any) -> None:
        """Note the step, if it is the first whose loss is no number."""
        output: Any = engine.state.output
        loss = torch.as_tensor((output[0] if isinstance(output, list) else output)["loss"]).detach()
        step = engine.state.iteration - (engine.state.epoch - 1) * engine.state.epoch_length
        found = torch.where(torch.isfinite(loss), 0, step)
        before = None if engine.scaler is not None else self._first
        self._first = found if before is None else torch.where(before > 0, before, found)
        if loss.device.type == "cpu" and engine.scaler is None:
            self._look(engine)

    def _begin(self, engine: Engine) -> None:
        self._first = None

    def _look(self, engine: Any) -> None:
        step = 0 if self._first is None else int(self._first)
        if not step:
            return
        epoch = engine.state.epoch
        _logger.error("Images of step %d of epoch %d: %s", step, epoch, ", ".join(_images(engine, step)) or "not known")
        raise RuntimeError(
            f"loss: expected a number, found none in step {step} of epoch {epoch}, of which nothing is kept; the log names its "
            "images. A smaller learning_rate may help, and --amp false"
        )


def _images(engine: Any, step: int) -> list[str]:
    """The files of a step's batch; its sampler, told the epoch, deals it again."""
    loader = engine.data_loader
    sampler, data = getattr(loader, "batch_sampler", None), getattr(getattr(loader, "dataset", None), "data", None)
    if data is None or sampler is None or not hasattr(sampler, "set_epoch"):
        return []
    batches = list(sampler)
    times = max(1, len(loader) // max(1, len(batches)))  # a batch at several scales is several steps
    numbers = [getattr(draw, "number", draw) for draw in batches[(step - 1) // times]]
    return [str(data[number].get("image", number)) for number in numbers]
