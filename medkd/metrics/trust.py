"""What tells whether a prediction can be trusted, besides how well it overlaps: its confidence, its entropy, its islands."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["BINS", "Islands", "calibration_error", "entropy_share", "islands", "overconfidence", "reliability"]

BINS = 10
Mask = NDArray[np.bool_]
Table = NDArray[np.float64]


class Islands(NamedTuple):
    """Connected components; diagonal neighbours are connected.

    Attributes:
        predicted: of the prediction.
        false: those of them that do not touch the truth.
        missed: those of the truth that the prediction does not touch.
    """

    predicted: int
    false: int
    missed: int


def reliability(probability: NDArray[np.floating], truth: Mask, bins: int = BINS) -> Table:
    """What a reliability plot and its calibration error are computed of; tables of several cases can be added.

    The bins are those of MONAI's ``calibration_binning``: of one width, and what lies on a bound belongs below it.

    Args:
        probability: of one class, of any shape, in [0, 1].
        truth: where that class is, of the same shape.
        bins: how many.

    Returns:
        ``[3, bins]``: for each bin how many pixels there are, the sum of their probabilities, and how many of them are of the
        class.
    """
    values = np.asarray(probability, dtype=np.float32).ravel()
    bounds = np.linspace(0, 1, bins + 1, dtype=np.float32)[1:-1]
    place = np.searchsorted(bounds, values, side="left")
    weights = (None, values.astype(np.float64), np.asarray(truth).ravel().astype(np.float64))
    return np.stack([np.bincount(place, weight, bins).astype(np.float64) for weight in weights])


def calibration_error(table: Table) -> float:
    """Expected calibration error (Guo et al., ICML 2017, equation 3) in [0, 1]; NaN of nothing.

    ``Σ_b n_b / n · |mean probability of b − share of b that is of the class|``

    Args:
        table: ``[3, bins]`` of ``reliability``.
    """
    count, confidence, right = table
    return float(np.abs(confidence - right).sum() / count.sum()) if count.sum() else float("nan")


def overconfidence(table: Table) -> tuple[float, float]:
    """How sure a class is where it is more likely than not, and how often it is right there; NaN where that is nowhere.

    Nearly all pixels of an image are background that nobody doubts, and in the calibration error they hide the others. This
    looks at the upper half of the bins alone. Confidence above the frequency is overconfidence.

    Args:
        table: ``[3, bins]`` of ``reliability``, with an even number of bins.

    Returns:
        The mean probability there, and the share of those pixels that are of the class; both in [0, 1].
    """
    count, confidence, right = table[:, table.shape[1] // 2 :].sum(axis=1)
    return (float(confidence / count), float(right / count)) if count else (float("nan"), float("nan"))


def entropy_share(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """Entropy of every pixel as a share of the largest there can be, in [0, 1].

    Args:
        probabilities: ``[K, *spatial]``, of all classes, K >= 2.

    Returns:
        ``[*spatial]``: ``−Σ_k p_k log p_k / log K``.
    """
    p = np.clip(probabilities, 1e-12, 1).astype(np.float32)
    share: NDArray[np.float32] = -(p * np.log(p)).sum(axis=0) / np.float32(np.log(len(p)))
    return share


def islands(prediction: Mask, truth: Mask) -> Islands:
    """Count the components of a prediction, and those that nothing of the truth belongs to, and the other way round.

    Args:
        prediction: ``[*spatial]``, of one class.
        truth: of the same shape.
    """
    whole = ndimage.generate_binary_structure(prediction.ndim, prediction.ndim)
    found, predicted = ndimage.label(prediction, whole)
    there, true = ndimage.label(truth, whole)
    both = prediction & truth
    return Islands(predicted, predicted - len(np.unique(found[both])), true - len(np.unique(there[both])))
