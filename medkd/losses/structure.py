"""Structure loss: cross-entropy and overlap that count the pixels near a boundary more (F3Net, arXiv 1911.11445)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["StructureLoss"]

_WINDOW = 31


class StructureLoss(nn.Module):
    """Weighted binary cross-entropy plus weighted intersection over union.

    With ``w = 1 + 5 |mean of m in a 31 x 31 window - m|`` per pixel (zeros outside the image), p the sigmoid of the
    logits and m the mask, per image

        L = Σ w BCE(p, m) / Σ w  +  1 - (Σ w p m + 1) / (Σ w (p + m - p m) + 1)

    averaged over the images.

    Args:
        variant: ``"released"`` takes the plain mean of the cross-entropy over all pixels and images, as the released
            codes of PraNet, Polyp-PVT and KDAS do, so that the weights act on the overlap alone.

    Raises:
        ValueError: for an unknown variant; when called, for shapes that differ.
    """

    def __init__(self, *, variant: Literal["paper", "released"] = "paper") -> None:
        super().__init__()
        if variant not in {"paper", "released"}:
            raise ValueError(f'variant must be "paper" or "released", got {variant!r}')
        self.variant = variant

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Logits ``[B, C, H, W]`` and a mask of that shape with values in [0, 1] to a scalar >= 0."""
        if logits.shape != mask.shape:
            raise ValueError(f"expected a mask of the logits' shape {tuple(logits.shape)}, got {tuple(mask.shape)}")
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        mask = mask.to(logits.dtype)
        weight = 1 + 5 * (_mean_around(mask) - mask).abs()
        crossentropy = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
        if self.variant == "released":
            crossentropy = crossentropy.mean().expand_as(weight)
        p, axes = logits.sigmoid(), (2, 3)
        overlap, both = (weight * p * mask).sum(axes), (weight * (p + mask)).sum(axes)
        wiou = 1 - (overlap + 1) / (both - overlap + 1)
        return ((weight * crossentropy).sum(axes) / weight.sum(axes) + wiou).mean()


def _mean_around(mask: Tensor) -> Tensor:
    """The mean in a square window, first along columns, then along rows: 62 additions a pixel instead of 961."""
    reach = _WINDOW // 2
    columns = F.avg_pool2d(mask, (_WINDOW, 1), stride=1, padding=(reach, 0))
    return F.avg_pool2d(columns, (1, _WINDOW), stride=1, padding=(0, reach))
