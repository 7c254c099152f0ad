"""Learning from image-level labels: MIL teachers, and the fusion distillation of their maps (IKD-MIL, arXiv 2407.10274).

All maps are probabilities ``[B, 1, H, W]``; a positive image holds the structure somewhere, a negative one nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from medkd.outputs import SideOutputs
from medkd.pooling import generalized_mean

__all__ = ["BagDiceLoss", "FusionDistillationLoss", "GeneralizedMeanLoss"]

_EPS = 1e-7


class BagDiceLoss(nn.Module):
    """A MIL teacher's loss: all of a positive image is foreground, all of a negative one background, by Dice.

    ``L = Σ_{o ∈ f1, f2, f3, f} Dice(o, 1)`` for a positive image and ``Σ_o Dice(1 − o, 1)`` for a negative one; the mean
    over images. It is the choice of the authors' released code (which sums over the images).
    """

    def forward(
        self, output: SideOutputs, batch: Mapping[str, Tensor], teacher: SideOutputs | None = None
    ) -> dict[str, Tensor]:
        """The loss.

        Args:
            output: the network's maps.
            batch: ``"label"``, image-level, ``[B]`` or ``[B, 1]``, 0 or 1.
            teacher: not used.

        Returns:
            ``"loss"`` and the detached term ``"bag"``.

        Raises:
            ValueError: if the label is not image-level.
        """
        label = _image_labels(batch["label"], output.fused)
        loss = _over_maps(output, lambda o: soft_dice(_as_labelled(o, label), torch.ones_like(o))).mean()
        return {"loss": loss, "bag": loss.detach()}


class GeneralizedMeanLoss(nn.Module):
    """A MIL teacher's loss: the generalised mean of each map is the image's probability (DWS-MIL, SA-MIL, Swin-MIL).

    ``L = Σ_{o ∈ f1, f2, f3, f} BCE((mean oʳ)^{1/r}, label)``; the mean over images.

    Args:
        r: exponent; 1 is the mean, ∞ the maximum.

    Raises:
        ValueError: if ``r`` is below 1.
    """

    def __init__(self, r: float = 4.0) -> None:
        super().__init__()
        if r < 1:
            raise ValueError(f"expected r >= 1, got {r}")
        self.r = r

    def forward(
        self, output: SideOutputs, batch: Mapping[str, Tensor], teacher: SideOutputs | None = None
    ) -> dict[str, Tensor]:
        """The loss; arguments, result and errors as those of ``BagDiceLoss``."""
        label = _image_labels(batch["label"], output.fused)
        loss = _over_maps(output, lambda o: cross_entropy(generalized_mean(o, self.r), label)).mean()
        return {"loss": loss, "bag": loss.detach()}


class FusionDistillationLoss(nn.Module):
    """The student learns the teacher's fused map; in negative images the truth, that there is nothing.

    ``L = mean_images Σ_o Dice(o, t) + wce_weight · L_wce`` with the target ``t`` of a positive image, and ``Dice(1 − o, 1)``
    for a negative one. ``L_wce`` is the cross-entropy of the student's fused map against the teacher's, thresholded at
    0.5; pixels are weighted by ``softmax(−own loss)`` over the image, scaled to mean one, so that easy ones count more,
    and alike where the target has one class.

    Args:
        variant: ``"paper"``, or ``"released"``: what the authors' code computes. There ``L_wce`` sees the teacher's map
            rounded down, which is 0 nearly everywhere, and takes probabilities for logits; both terms are sums over the
            images.
        wce_weight: weight of ``L_wce`` per image; 0 for none.
        target: what a positive image teaches: ``"soft"``, the teacher's fused map; ``"hard"``, that map thresholded at
            0.5 (plain pseudo-masks); ``"mask"``, the true mask ``batch["mask"]`` (full supervision, for comparison).

    Raises:
        ValueError: for an unknown option or a negative weight.
    """

    def __init__(self, *, variant: str = "paper", wce_weight: float = 2.0, target: str = "soft") -> None:
        super().__init__()
        if variant not in {"paper", "released"} or target not in {"soft", "hard", "mask"}:
            raise ValueError(
                f'expected variant "paper" or "released" and target "soft", "hard" or "mask", got {variant!r}, {target!r}'
            )
        if wce_weight < 0:
            raise ValueError(f"expected wce_weight >= 0, got {wce_weight}")
        self.variant, self.wce_weight, self.target = variant, wce_weight, target

    def forward(
        self, output: SideOutputs, batch: Mapping[str, Tensor], teacher: SideOutputs | None = None
    ) -> dict[str, Tensor]:
        """The loss.

        Args:
            output: the student's maps.
            batch: ``"label"``, image-level, ``[B]`` or ``[B, 1]``, 0 or 1; for ``target="mask"`` also ``"mask"``.
            teacher: the teacher's maps; not needed for ``target="mask"``.

        Returns:
            ``"loss"``, and the unweighted, detached terms ``"distillation"`` and, with a weight, ``"wce"`` (means over the images).

        Raises:
            ValueError: if the label is not image-level, or the target is absent or of another shape.
        """
        label = _image_labels(batch["label"], output.fused)
        guide = self._guide(output, batch, teacher)
        positive = (guide > 0.5).to(guide.dtype) if self.target == "hard" else guide
        truth = torch.where(label.view(-1, 1, 1, 1) > 0, positive, 1.0)
        distillation = _over_maps(output, lambda o: soft_dice(_as_labelled(o, label), truth)).mean()
        terms, total = {"distillation": distillation}, distillation
        if self.wce_weight:
            terms["wce"] = self._wce(output.fused, guide).mean()
            total = total + self.wce_weight * terms["wce"]
        loss = total * (len(label) if self.variant == "released" else 1)
        return {"loss": loss, **{name: term.detach() for name, term in terms.items()}}

    def _guide(self, output: SideOutputs, batch: Mapping[str, Tensor], teacher: SideOutputs | None) -> Tensor:
        """The map that positive images are taught, detached."""
        source = batch.get("mask") if self.target == "mask" else None if teacher is None else teacher.fused
        if source is None:
            raise ValueError(
                'expected the true mask as batch["mask"], found none'
                if self.target == "mask"
                else "expected the teacher's output, got None"
            )
        if source.shape != output.fused.shape:
            raise ValueError(
                f"expected a target of the student's shape {tuple(output.fused.shape)}, got {tuple(source.shape)}"
            )
        return source.detach().float()

    def _wce(self, fused: Tensor, guide: Tensor) -> Tensor:
        """The weighted cross-entropy of every image ``[B]``."""
        with torch.autocast(fused.device.type, enabled=False):
            if self.variant == "released":
                target = guide.floor()
                own = nn.functional.cross_entropy(
                    torch.cat([1 - fused.float(), fused.float()], 1), target[:, 0].long(), reduction="none"
                )
            else:
                target = (guide > 0.5).float()
                own = cross_entropy(fused, target)
            return (easy_pixel_weights(own.flatten(1), target.flatten(1)) * own.flatten(1)).mean(1)


def soft_dice(prob: Tensor, target: Tensor) -> Tensor:
    """``1 − (2 Σpt + 1) / (Σp + Σt + 1 + 1e-7)`` of every image ``[B]``, for maps ``[B, 1, H, W]``."""
    p, t = prob.float().flatten(1), target.float().flatten(1)
    return 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1 + _EPS)


def cross_entropy(prob: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of probabilities, element by element, in float32; they are clamped to >= 1e-7."""
    p = prob.float()
    return -(target * p.clamp_min(_EPS).log() + (1 - target) * (1 - p).clamp_min(_EPS).log())


def easy_pixel_weights(loss: Tensor, target: Tensor) -> Tensor:
    """``softmax(−loss)`` over the pixels, times their number, detached; ones where the target has a single class.

    Args:
        loss: of every pixel, ``[B, pixels]``.
        target: 0 and 1, ``[B, pixels]``.
    """
    weights = (-loss.detach()).softmax(1) * loss.shape[1]
    single = target.amin(1, keepdim=True) == target.amax(1, keepdim=True)
    return torch.where(single, 1.0, weights)


def _over_maps(output: SideOutputs, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """The sum over the side maps and the fused one, of every image ``[B]``."""
    return torch.stack([loss(o) for o in (*output.sides, output.fused)]).sum(0)


def _as_labelled(prob: Tensor, label: Tensor) -> Tensor:
    """The probability of what the image-level label says: of foreground in positive images, else of background."""
    return torch.where(label.view(-1, 1, 1, 1) > 0, prob.float(), 1 - prob.float())


def _image_labels(label: Tensor, fused: Tensor) -> Tensor:
    """``[B]`` of 0 and 1."""
    if label.numel() != len(fused):
        raise ValueError(
            f"expected an image-level label of each of the {len(fused)} images, [B] or [B, 1], got {tuple(label.shape)}"
        )
    return label.reshape(-1).to(fused.device, torch.float32)
