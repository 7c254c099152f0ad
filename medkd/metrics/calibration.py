"""The threshold of a map, told from images of which only the label is known."""

from __future__ import annotations

import logging
from typing import Any

import torch
from ignite import distributed
from ignite.metrics import Metric
from torch import Tensor

__all__ = ["CalibratedThreshold"]

_logger = logging.getLogger(__name__)

# Positive floats are ordered as their bits are. Without the last 8 bits neighbours differ by 2⁻¹⁵ of their value at most.
_DROPPED, _LOWEST, _HIGHEST = 8, 2.0**-20, 1 - 1e-6
_FIRST, _LAST = (torch.tensor([_LOWEST, 1.0]).view(torch.int32) >> _DROPPED).tolist()


class CalibratedThreshold(Metric):
    """The threshold at which a set share of the pixels of negative images is foreground.

    Of several processes it is that over the images of all. It is exact to 3e-5 of its value and rounded up: no more
    than the share is foreground. It lies in (2⁻²⁰, 1 − 1e-6].

    Args:
        threshold: ``"auto"``: calibrate; a number: that one, whatever the images are.
        false_positive_rate: the share of pixels, in (0, 1).
        pred_key: key of the map ``[1, *spatial]``, probabilities, in the engine's (decollated) output.
        label_key: key of the image's label, 0 or 1, in the engine's batch.

    Raises:
        ValueError: for a ``threshold`` or a ``false_positive_rate`` outside (0, 1).
    """

    def __init__(
        self,
        threshold: str | float = "auto",
        *,
        false_positive_rate: float = 0.05,
        pred_key: str = "pred",
        label_key: str = "label",
    ) -> None:
        self.fixed = None if threshold == "auto" else _share("threshold", threshold, 'a number in (0, 1) or "auto"')
        self.false_positive_rate = _share("false_positive_rate", false_positive_rate, "a number in (0, 1)")
        self.pred_key, self.label_key = pred_key, label_key
        super().__init__()

    def reset(self) -> None:
        """Forget what was counted."""
        self._counts = torch.zeros(_LAST - _FIRST + 1, dtype=torch.int64)

    def iteration_completed(self, engine: Any) -> None:
        """Count the pixels of the negative images of a batch."""
        if self.fixed is not None:
            return
        for item, source in zip(engine.state.output, engine.state.batch, strict=True):
            if float(source[self.label_key]) == 0:
                self.update(torch.as_tensor(item[self.pred_key]))

    def update(self, output: Tensor) -> None:
        """Count the pixels of a map of any shape."""
        levels = output.detach().float().cpu().clamp(_LOWEST, 1).flatten().contiguous()
        self._counts += torch.bincount((levels.view(torch.int32) >> _DROPPED) - _FIRST, minlength=len(self._counts))

    def compute(self) -> float:
        """The threshold; 0.5, with a warning, where there is no negative image."""
        if self.fixed is not None:
            return self.fixed
        counts: Any = distributed.all_reduce(self._counts.to(distributed.device()))
        above = counts.cpu().flip(0).cumsum(0).flip(0)  # pixels of a bin and of those above it
        if not above[0]:
            _logger.warning("threshold: expected negative validation images to calibrate it by, found none: it is 0.5.")
            return 0.5
        allowed = above <= self.false_positive_rate * above[0]
        if not allowed.any():
            _logger.warning("threshold: %.0f %% of the pixels of negative images are at 1.", 100 * above[-1] / above[0])
            return _HIGHEST
        edge = ((allowed.int().argmax().int() + _FIRST) << _DROPPED).view(torch.float32)
        return min(float(edge), _HIGHEST)


def _share(name: str, value: Any, expected: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 < number < 1:
        raise ValueError(f"{name}: expected {expected}, found {value!r}")
    return number
