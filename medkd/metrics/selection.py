"""Which student is best, told from image-level labels alone, or from the masks of a few validation images."""

from __future__ import annotations

from typing import Any

import torch
from ignite.exceptions import NotComputableError
from ignite.metrics import Metric
from monai.metrics import compute_roc_auc
from monai.utils.dist import evenly_divisible_all_gather
from torch import Tensor

from medkd.pooling import generalized_mean

__all__ = ["SelectionScore", "image_level_score"]


class SelectionScore(Metric):
    """The key metric of a validation, in [0, 1]; of several processes over the images of all, however many each has.

    Args:
        by: ``"labels"``: see ``image_level_score``; no pixel label is used. ``"pixels"``: the mean Dice at 0.5 of the
            validation images that have a mask, or are negative.

    Raises:
        ValueError: for another ``by``; at the end of a validation by pixels, if no positive image had a mask.
        NotComputableError: if there was no image.
    """

    def __init__(self, by: str = "labels") -> None:
        if by not in {"labels", "pixels"}:
            raise ValueError(f'expected "labels" or "pixels", got {by!r}')
        self._score = _mean_dice if by == "pixels" else _image_level
        self._row = _pixel_row if by == "pixels" else _label_row
        super().__init__()

    def reset(self) -> None:
        """Forget what was collected."""
        self._rows: list[Tensor] = []

    def iteration_completed(self, engine: Any) -> None:
        """Collect two numbers of every image of the (decollated) batch, and its label."""
        pairs = zip(engine.state.output, engine.state.batch, strict=True)
        numbers = torch.stack([self._row(torch.as_tensor(item["pred"]).float(), source) for item, source in pairs])
        labels = [torch.as_tensor(source["label"]).reshape(()) for source in engine.state.batch]
        self.update(torch.cat([numbers, torch.stack(labels)[:, None].to(numbers)], 1))

    def update(self, output: Tensor) -> None:
        """Add rows ``[N, 3]``: the two numbers, and the label."""
        self._rows.append(output)

    def compute(self) -> float:
        """The score of all images."""
        if not self._rows:
            raise NotComputableError("expected at least one validation image to select by, found none")
        # ignite's own gathering wants as many images from every process.
        rows = evenly_divisible_all_gather(torch.cat(self._rows), concat=True)
        return self._score(rows[:, :2], rows[:, 2])


def image_level_score(pooled: Tensor, foreground: Tensor, label: Tensor) -> float:
    """The mean of two things a map must have: its generalised mean ranks the images, and negative ones are empty.

    Args:
        pooled: generalised mean of every map, ``[N]``.
        foreground: mean probability of every map, ``[N]``.
        label: 0 or 1, ``[N]``.

    Returns:
        ``(AUC(pooled, label) + 1 − mean foreground of the negatives) / 2``. Of images of one class only there is no AUC:
        the emptiness alone for negatives, the mean of ``pooled`` for positives.
    """
    negative = label == 0
    if bool(negative.all()) or not bool(negative.any()):
        return float((1 - foreground).mean() if bool(negative.all()) else pooled.mean())
    auc: Any = compute_roc_auc(pooled, label)
    return float(auc + 1 - foreground[negative].mean()) / 2


def _label_row(probability: Tensor, source: dict[str, Any]) -> Tensor:
    """Generalised mean and mean."""
    return torch.stack([generalized_mean(probability[None])[0], probability.mean()]).cpu()


def _pixel_row(probability: Tensor, source: dict[str, Any]) -> Tensor:
    """Dice and 1; 0 and 0 where there is no mask to compare with."""
    if not bool(source["has_mask"]):
        return torch.zeros(2)
    prediction, mask = probability.cpu() > 0.5, torch.as_tensor(source["mask"]).cpu() > 0.5
    total = prediction.sum() + mask.sum()
    dice = 2 * (prediction & mask).sum() / total if total > 0 else torch.ones(())
    return torch.stack([dice.float(), torch.ones(())])


def _image_level(rows: Tensor, label: Tensor) -> float:
    return image_level_score(rows[:, 0], rows[:, 1], label)


def _mean_dice(rows: Tensor, label: Tensor) -> float:
    dice, known = rows.unbind(1)
    if not bool(((label > 0) & (known > 0)).any()):
        raise ValueError('expected a "mask" of at least one positive validation image to select by pixels, found none')
    return float(dice.sum() / known.sum())
