"""The field's evaluation protocol for polyps (PraNet, arXiv 2006.11392), through PySODMetrics, and Dice and IoU at 0.5."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PolypMeasures", "to_gray"]


class PolypMeasures:
    """Scores of one test set, fed image by image.

    ``meanDic`` and ``meanIoU`` are means, ``maxDic`` and ``maxIoU`` maxima over 256 thresholds of the curve that is
    averaged over the images; ``wFm`` is the weighted F-measure (beta 1), ``Sm`` the structure measure, ``meanEm`` and
    ``maxEm`` the enhanced-alignment measure over the thresholds, ``mae`` the mean absolute error. These rescale every
    map to [0, 1] first, as the protocol does; for a frame without a polyp those of Dice, IoU and F are 0 whatever is
    predicted. ``dice`` and ``iou`` threshold the map as it is at 0.5, which is what a user deploys; an empty mask with
    an empty prediction scores 1.

    Differences from the protocol's own code: see ``docs/methods/kdas.md``.
    """

    def __init__(self) -> None:
        try:
            import py_sod_metrics as sod
        except ImportError as error:
            raise RuntimeError(f"PySODMetrics is missing ({error}): pip install medkd[polyp]") from error
        curve = {"with_dynamic": True, "with_adaptive": False, "sample_based": True}
        self._curves = sod.FmeasureV2({"Dic": sod.DICEHandler(**curve), "IoU": sod.IOUHandler(**curve)})
        self._measures = {
            "wfm": sod.WeightedFmeasure(beta=1),
            "sm": sod.Smeasure(),
            "em": sod.Emeasure(),
            "mae": sod.MAE(),
        }
        self._fixed: list[tuple[float, float]] = []

    def step(self, prediction: NDArray[np.uint8], mask: NDArray[np.uint8]) -> dict[str, float]:
        """Score one image.

        Args:
            prediction: probabilities as 8 bit, ``[H, W]``.
            mask: ``[H, W]``; foreground is 128 and more.

        Returns:
            ``dice`` and ``iou`` of this image at 0.5.

        Raises:
            ValueError: if the shapes or types do not fit.
        """
        for name, values in (("prediction", prediction), ("mask", mask)):
            if values.dtype != np.uint8 or values.ndim != 2:
                raise ValueError(f"expected a {name} of 8 bit [H, W], got {values.dtype} {values.shape}")
        if prediction.shape != mask.shape:
            raise ValueError(f"expected a prediction of the mask's size {mask.shape}, got {prediction.shape}")
        for measure in (self._curves, *self._measures.values()):
            measure.step(prediction, mask)
        found, truth = prediction >= 128, mask >= 128
        both, either = int((found & truth).sum()), int((found | truth).sum())
        scores = (2 * both / (both + either), both / either) if either else (1.0, 1.0)
        self._fixed.append(scores)
        return {"dice": scores[0], "iou": scores[1]}

    def results(self) -> dict[str, float]:
        """All scores of the set.

        Raises:
            ValueError: if no image was scored.
        """
        if not self._fixed:
            raise ValueError("expected at least one image to score, got none")
        curves: dict[str, Any] = self._curves.get_results()
        found: dict[str, Any] = {}
        for measure in self._measures.values():
            found |= measure.get_results()
        enhanced = found["em"]["curve"]
        dice, iou = np.mean(self._fixed, 0)
        scores = {
            **{f"mean{name}": curves[name]["dynamic"].mean() for name in ("Dic", "IoU")},
            **{f"max{name}": curves[name]["dynamic"].max() for name in ("Dic", "IoU")},
            "wFm": found["wfm"],
            "Sm": found["sm"],
            "meanEm": enhanced.mean(),
            "maxEm": enhanced.max(),
            "mae": found["mae"],
            "dice": dice,
            "iou": iou,
        }
        return {name: float(value) for name, value in scores.items()}


def to_gray(probabilities: NDArray[Any]) -> NDArray[np.uint8]:
    """Probabilities in [0, 1] as 8 bit, so that 128 and more means 0.5 and more."""
    return np.clip(np.floor(np.asarray(probabilities, dtype=np.float64) * 256), 0, 255).astype(np.uint8)
