"""Average the terms of a distillation loss over each epoch."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.utils.enums import CommonKeys
from torch import Tensor

__all__ = ["LossTerms"]

_NO_TERMS = {CommonKeys.IMAGE, CommonKeys.LABEL, CommonKeys.PRED}


class LossTerms:
    """Put the epoch's mean of every loss term into ``engine.state.metrics``, e.g. ``train_loss`` and ``train_kl``.

    Every scalar that the loss left in ``engine.state.output`` counts as a term. The terms add up on their device and are
    read once per epoch, so that no step waits for it. With several processes the means are over all of them.

    Args:
        prefix: put before each name.
    """

    def __init__(self, prefix: str = "train_") -> None:
        self.prefix = prefix
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)

    def __call__(self, engine: Engine) -> None:
        """Add the terms of one iteration."""
        output: Any = engine.state.output
        device = torch.device(getattr(engine.state, "device", "cpu"))
        dtype = torch.float32 if device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        item = output[0] if isinstance(output, list) else output  # decollation repeats scalars for every image
        for name, value in item.items():
            if name in _NO_TERMS:  # of images with one label each it is a scalar
                continue
            if isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.ndim == 0):
                term = torch.as_tensor(value).detach().to(device, dtype, non_blocking=True)
                self._sums[name] = self._sums[name] + term if name in self._sums else term
        self._count += 1

    def _reset(self, engine: Engine) -> None:
        self._sums, self._count = {}, 0

    def _report(self, engine: Engine) -> None:
        if not self._sums:
            return
        means = torch.stack(list(self._sums.values())) / self._count
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(means)
            means = means / torch.distributed.get_world_size()
        names = [self.prefix + name for name in self._sums]
        engine.state.metrics.update(zip(names, means.cpu().tolist(), strict=True))
