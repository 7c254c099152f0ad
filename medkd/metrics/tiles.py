"""Measures of tumour maps (METHODS of DWS-MIL, Swin-MIL and IKD-MIL): per tile, and over all pixels of a region."""

from __future__ import annotations

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance
from numpy.typing import NDArray

__all__ = ["RegionScores", "pixel_average_precision", "tile_scores"]

Mask = NDArray[np.bool_]
_BINS = 1000


def tile_scores(prediction: Mask, mask: Mask, *, hausdorff: bool = True) -> dict[str, float]:
    """Scores of one tile; what does not apply is NaN.

    Args:
        prediction: ``[H, W]``.
        mask: ``[H, W]``.
        hausdorff: also compute the Hausdorff distance, in pixels.

    Returns:
        ``iou`` (1 if both are empty); of a positive tile ``f1`` and ``hausdorff`` (NaN where nothing is predicted); of a
        negative one ``background_f1``.
    """
    hit, union = int((prediction & mask).sum()), int((prediction | mask).sum())
    scores = {"f1": np.nan, "iou": hit / union if union else 1.0, "hausdorff": np.nan, "background_f1": np.nan}
    if mask.any():
        scores["f1"] = 2 * hit / (int(prediction.sum()) + int(mask.sum()))
        scores["hausdorff"] = _hausdorff(prediction, mask) if hausdorff and prediction.any() else np.nan
    else:
        empty = int((~prediction).sum())
        scores["background_f1"] = 2 * empty / (empty + mask.size)
    return scores


class RegionScores:
    """IoU of the masks and pixel average precision (PxAP) of the maps, over all tiles of a region, however many there are."""

    def __init__(self) -> None:
        self.positive = np.zeros(_BINS + 1, dtype=np.int64)  # pixels inside and outside the structure, by probability
        self.negative = np.zeros(_BINS + 1, dtype=np.int64)
        self.hit = self.union = 0

    def step(self, probability: NDArray[np.floating], prediction: Mask, mask: Mask) -> None:
        """Add a tile: ``[H, W]`` each; ``probability`` in [0, 1]."""
        bins = np.rint(probability * _BINS).astype(np.int64)
        self.positive += np.bincount(bins[mask], minlength=_BINS + 1)
        self.negative += np.bincount(bins[~mask], minlength=_BINS + 1)
        self.hit += int((prediction & mask).sum())
        self.union += int((prediction | mask).sum())

    def results(self) -> dict[str, float]:
        """``iou``, 1 where there is no structure and none is predicted, and ``pxap``, NaN where there is no structure."""
        iou = self.hit / self.union if self.union else 1.0
        return {"iou": iou, "pxap": pixel_average_precision(self.positive, self.negative)}

    def __add__(self, other: RegionScores) -> RegionScores:
        """The pixels of both."""
        both = RegionScores()
        both.positive, both.negative = self.positive + other.positive, self.negative + other.negative
        both.hit, both.union = self.hit + other.hit, self.union + other.union
        return both


def pixel_average_precision(positive: NDArray[np.int64], negative: NDArray[np.int64]) -> float:
    """``Σ_k precision_k (recall_k − recall_{k+1})`` over the thresholds (Choe et al., CVPR 2020, equation 5).

    Args:
        positive: number of pixels of the structure with each probability, ascending.
        negative: number of the other pixels.

    Returns:
        The average precision in [0, 1]; NaN if there is no pixel of the structure. A constant map has the prevalence.
    """
    if not positive.sum():
        return float("nan")
    found, false = positive[::-1].cumsum(), negative[::-1].cumsum()
    precision = found / np.maximum(found + false, 1)
    return float((precision * positive[::-1]).sum() / positive.sum())


def _hausdorff(prediction: Mask, mask: Mask) -> float:
    pair = (torch.as_tensor(prediction)[None, None], torch.as_tensor(mask)[None, None])
    return float(compute_hausdorff_distance(*pair, include_background=True))
