"""From a map of probabilities to the probability of its image: a MIL loss trains by it, a metric selects by it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["generalized_mean"]

_EPS = 1e-7


def generalized_mean(prob: Tensor, r: float = 4.0) -> Tensor:
    """``(mean pʳ)^{1/r}`` over the pixels of every map.

    Args:
        prob: probabilities ``[B, 1, H, W]``; clamped to [1e-7, 1 − 1e-7].
        r: exponent, >= 1.

    Returns:
        ``[B]``, in float32.
    """
    logs = prob.float().clamp(_EPS, 1 - _EPS).log().flatten(1)
    # In logarithms: 1e-7 to the power of 6 and more is 0 in float32, and the root has no gradient there.
    return ((torch.logsumexp(r * logs, 1) - math.log(logs.shape[1])) / r).exp()
