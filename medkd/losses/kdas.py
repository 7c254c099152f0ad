"""KDAS: knowledge distillation with attention supervision (arXiv 2312.08555)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medkd.losses.divergence import kl_divergence
from medkd.losses.segmentation_distillation import pixel_divergence
from medkd.losses.structure import StructureLoss
from medkd.outputs import positions

__all__ = ["KDASLoss", "self_attention", "symmetric"]


class KDASLoss(nn.Module):
    """A student of two maps learns from the mask, from the teacher's self-attention, and from its symmetric map.

    With logit maps t₁, t₂ of the teacher and s₁, s₂ of the student (fusion and similarity), H rows and W columns,

        A(X)  = softmax(X Xᵀ / √W) X
        L_att = T² Σᵢ KL(softmax_HW(A(tᵢ)/T) ‖ softmax_HW(A(sᵢ)/T))     mean over the images
        L_sgm = MSE(s₂ + s₂ᵀ, t₂ + t₂ᵀ)                                  the longer side resized to the shorter
        L     = (1 - α) Σᵢ structure(sᵢ, mask) + α (λ_att L_att + λ_sgm L_sgm + λ_kl L_kl)

    L_kl, which is not part of KDAS, is the usual distillation of the prediction (Hinton et al., arXiv 1503.02531), for
    comparison: mean over pixels of the divergence of background and foreground.

    Args:
        variant: ``"released"`` is what the authors' code trains with: the plain cross-entropy in the structure loss, the
            symmetric map of the *first* outputs, and an attention term without any gradient, which is left out.
        alpha: share of distillation, in [0, 1].
        temperature: T, > 0.
        attention_weight: λ_att, >= 0.
        symmetric_weight: λ_sgm, >= 0.
        logit_weight: λ_kl, >= 0.
        single_map: teacher or student are networks of one map (any segmentation network of one output channel); of one
            that has two, the prediction is taken. The symmetric term, which is defined on the second map, is dropped.

    Raises:
        ValueError: for an option out of range, or ``single_map`` with the released variant, which has no other term.
    """

    def __init__(
        self,
        *,
        variant: Literal["paper", "released"] = "paper",
        alpha: float = 0.3,
        temperature: float = 2.0,
        attention_weight: float = 1.0,
        symmetric_weight: float = 1.0,
        logit_weight: float = 0.0,
        single_map: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= alpha <= 1 or temperature <= 0 or min(attention_weight, symmetric_weight, logit_weight) < 0:
            raise ValueError(
                "expected alpha in [0, 1], temperature > 0 and weights >= 0, got "
                f"{alpha}, {temperature} and {[attention_weight, symmetric_weight, logit_weight]}"
            )
        if single_map and variant == "released":
            raise ValueError("expected single_map=False with the released variant, whose only term needs two maps")
        self.structure = StructureLoss(variant=variant)
        self.variant = variant
        self.alpha, self.temperature = alpha, temperature
        self.attention_weight = 0.0 if variant == "released" else attention_weight
        self.symmetric_weight = 0.0 if single_map else symmetric_weight
        self.logit_weight = logit_weight
        self.single_map = single_map

    def forward(
        self,
        output: Tensor | tuple[Tensor, ...],
        batch: Mapping[str, Tensor],
        teacher: Tensor | tuple[Tensor, ...] | None = None,
    ) -> dict[str, Tensor]:
        """Compute the total and its terms.

        Args:
            output: the student's logits: its two maps ``[B, 1, H, W]``, or one with ``single_map``.
            batch: ``"label"`` ``[B, 1, H, W]``, 1 inside and 0 outside; optionally ``"strong"``, bool ``[B]``: the frames that
                have a mask. For the others the teacher's probability stands in for it; without a teacher they are left out.
            teacher: the same of the teacher; ``None`` is allowed if ``alpha`` is 0.

        Returns:
            ``"loss"``, and the unweighted, detached terms ``"structure"``, ``"attention"``, ``"symmetric"``,
            ``"logits"`` that have a weight.

        Raises:
            ValueError: if the number of maps or their shapes do not fit, or nothing in the batch can be learnt from.
        """
        student = self._maps(output, "student")
        guide = self._guide(teacher, student) if self.alpha > 0 else []
        structure = self._structure(student, *_masks(batch, guide))
        terms = self._guidance(student, guide) if guide else {}
        weights = {
            "attention": self.attention_weight,
            "symmetric": self.symmetric_weight,
            "logits": self.logit_weight,
        }
        total = (1 - self.alpha) * structure
        for name, term in terms.items():
            total = total + self.alpha * weights[name] * term
        return {"loss": total, **{name: term.detach() for name, term in {"structure": structure, **terms}.items()}}

    def _structure(self, student: list[Tensor], mask: Tensor, chosen: Tensor | None) -> Tensor:
        if chosen is not None:
            student, mask = [logits[chosen] for logits in student], mask[chosen]
        return torch.stack([self.structure(logits, mask) for logits in student]).sum()

    def _guidance(self, student: list[Tensor], teacher: list[Tensor]) -> dict[str, Tensor]:
        """The distillation terms that have a weight."""
        terms = {}
        if self.attention_weight:
            divergences = [
                kl_divergence(self_attention(t).flatten(1), self_attention(s).flatten(1), temperature=self.temperature)
                for t, s in zip(teacher, student, strict=True)
            ]
            terms["attention"] = torch.stack(divergences).sum(0).mean()
        if self.symmetric_weight:
            which = 0 if self.variant == "released" else 1
            terms["symmetric"] = F.mse_loss(symmetric(student[which]), symmetric(teacher[which]))
        if self.logit_weight:
            two = [
                torch.cat([torch.zeros_like(z), z], 1) for z in (sum(student), sum(teacher)) if isinstance(z, Tensor)
            ]
            terms["logits"] = pixel_divergence(*two, temperature=self.temperature)
        return terms

    def _maps(self, output: Tensor | tuple[Tensor, ...], whose: str) -> list[Tensor]:
        if self.single_map and not isinstance(output, Tensor):
            output = getattr(output, "prediction", output)
        maps = [output] if isinstance(output, Tensor) else list(output)
        if len(maps) != (1 if self.single_map else 2) or any(z.ndim != 4 or z.shape[1] != 1 for z in maps):
            shapes = [tuple(z.shape) for z in maps]
            raise ValueError(
                f"expected {'one map' if self.single_map else 'two maps'} [B, 1, H, W] of the {whose} "
                f"(single_map={self.single_map}), got {shapes}"
            )
        return [z.float() if z.dtype in (torch.float16, torch.bfloat16) else z for z in maps]

    def _guide(self, teacher: Tensor | tuple[Tensor, ...] | None, student: list[Tensor]) -> list[Tensor]:
        """The teacher's maps, detached, after a check that they are of the student's size."""
        if teacher is None:
            raise ValueError("expected the teacher's output for alpha > 0, got None")
        maps = [z.detach() for z in self._maps(teacher, "teacher")]
        for guide, guided in zip(maps, student, strict=True):
            if guide.shape != guided.shape:
                raise ValueError(
                    f"expected maps of one size from teacher and student, got {tuple(guide.shape)} and {tuple(guided.shape)}"
                )
        return maps


def _masks(batch: Mapping[str, Tensor], guide: list[Tensor]) -> tuple[Tensor, Tensor | None]:
    """A mask of every frame, and the positions of the frames that have one, if not all do."""
    mask, flags = batch["label"], batch.get("strong")
    if flags is None or (flags.device.type == "cpu" and bool(flags.all())):
        return mask, None
    if not guide:
        if flags.device.type == "cpu" and not flags.any():
            raise ValueError("expected a frame with a mask in every batch without a teacher, found none")
        return mask, positions(flags, mask.device)
    known = flags.to(mask.device, non_blocking=True).view(-1, 1, 1, 1)
    return torch.where(known, mask, sum(guide).sigmoid()), None  # type: ignore[union-attr] # guide is not empty


def self_attention(x: Tensor) -> Tensor:
    """``softmax(X Xᵀ / √W) X`` of every map; the rows attend to each other, in float32 whatever autocast says.

    Args:
        x: ``[..., H, W]``.
    """
    with torch.autocast(x.device.type, enabled=False):
        attended: Tensor = (x @ x.transpose(-1, -2) / x.shape[-1] ** 0.5).softmax(-1) @ x
    return attended


def symmetric(x: Tensor) -> Tensor:
    """``X + Xᵀ`` of every map, the longer side first resized to the shorter.

    Args:
        x: ``[B, C, H, W]``.
    """
    side = min(x.shape[-2:])
    square = x if x.shape[-1] == x.shape[-2] else F.interpolate(x, (side, side), mode="bilinear", align_corners=False)
    return square + square.transpose(-1, -2)
