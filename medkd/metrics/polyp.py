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

    Attributes:
        images: for every image its numbers, and its curves over the thresholds; those of another part of the set may be added.
    """

    def __init__(self) -> None:
        try:
            import py_sod_metrics  # noqa: F401
        except ImportError as error:
            raise RuntimeError(f"PySODMetrics is missing ({error}): pip install medkd[polyp]") from error
        self.images: list[dict[str, Any]] = []

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
        found, truth = prediction >= 128, mask >= 128
        both, either = int((found & truth).sum()), int((found | truth).sum())
        dice, iou = (2 * both / (both + either), both / either) if either else (1.0, 1.0)
        self.images.append({**_protocol(prediction, mask), "dice": dice, "iou": iou})
        return {"dice": dice, "iou": iou}

    def results(self) -> dict[str, float]:
        """All scores of the set.

        Raises:
            ValueError: if no image was scored.
        """
        if not self.images:
            raise ValueError("expected at least one image to score, got none")
        means = {name: np.mean([image[name] for image in self.images], 0) for name in self.images[0]}
        scores = {}
        for name, mean in means.items():
            scores.update({f"mean{name}": mean.mean(), f"max{name}": mean.max()} if mean.ndim else {name: mean})
        return {name: float(value) for name, value in scores.items()}


def _protocol(prediction: NDArray[np.uint8], mask: NDArray[np.uint8]) -> dict[str, Any]:
    """One image's scores by the protocol: numbers, and curves over the thresholds."""
    import py_sod_metrics as sod

    handler = {"with_dynamic": True, "with_adaptive": False, "sample_based": True}
    curves = sod.FmeasureV2({"Dic": sod.DICEHandler(**handler), "IoU": sod.IOUHandler(**handler)})
    measures = (sod.WeightedFmeasure(beta=1), sod.Smeasure(), sod.Emeasure(), sod.MAE())
    for measure in (curves, *measures):
        measure.step(prediction, mask)
    found: dict[str, Any] = {}
    for measure in measures:
        found |= measure.get_results()
    dynamic = {name: curve["dynamic"] for name, curve in curves.get_results().items()}
    return {**dynamic, "wFm": found["wfm"], "Sm": found["sm"], "Em": found["em"]["curve"], "mae": found["mae"]}


def to_gray(probabilities: NDArray[Any]) -> NDArray[np.uint8]:
    """Probabilities in [0, 1] as 8 bit, so that 128 and more means 0.5 and more."""
    return np.clip(np.floor(np.asarray(probabilities, dtype=np.float64) * 256), 0, 255).astype(np.uint8)
