"""The arithmetic of ConfKD's released code, defects included, for two classes.

Kept so that a published result can be reproduced and each repair ablated. The defects: both distributions of the KL are
soft-maxed twice, its direction is KL(student || teacher) and the teacher is not detached; averages run over classes as
well as pixels; the partial cross-entropy sees foreground seeds only; the student's strong images enter the entropy
three times, because the code runs the network on cat(F, F, W) and concatenates what comes out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medkd.losses.divergence import log_softmax

__all__ = ["terms"]


def terms(
    teacher: Tensor, student: Tensor, label: Tensor, seeds: Tensor, strong: Tensor, weak: Tensor, temperature: float
) -> dict[str, Tensor]:
    """The released terms ``ce``, ``pce`` (strong plus weak), ``kl`` and ``entropy``, all differentiable.

    Args:
        teacher: logits ``[S, 2, *spatial]`` of the strong images.
        student: logits ``[B, 2, *spatial]`` of all images.
        label: classes 0 or 1 of the strong images, ``[S, *spatial]``.
        seeds: bool ``[B, *spatial]``, the annotated foreground pixels of all images.
        strong: positions of the strong images in the batch, ``[S]``.
        weak: positions of the others, ``[B - S]``.
        temperature: T of the divergence.

    Raises:
        ValueError: if there are not two classes.
    """
    if student.shape[1] != 2:
        raise ValueError(f'variant="released" is defined for 2 classes, got logits with {student.shape[1]}')
    return {
        "ce": -log_softmax(teacher).gather(1, label.long().unsqueeze(1)).sum() / max(label.numel(), 1),
        "pce": _seed_loss(student[strong], seeds[strong]) + _seed_loss(student[weak], seeds[weak]),
        "kl": _double_softmax_kl(teacher, student[strong], temperature),
        "entropy": _class_mean_entropy(student, strong),
    }


def _seed_loss(logits: Tensor, seeds: Tensor) -> Tensor:
    """Mean of -log p[foreground] over the seed pixels; 0 if there is none."""
    return -(log_softmax(logits)[:, 1] * seeds).sum() / (seeds.sum() + 1e-20)


def _double_softmax_kl(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """0.5 T² KL(q_s || q_t) averaged over images, classes and pixels, with q = softmax(softmax(logits) / T)."""
    log_q_t, log_q_s = (log_softmax(log_softmax(x).exp(), temperature=temperature) for x in (teacher, student))
    divergence = (log_q_s.exp() * (log_q_s - log_q_t)).sum() / max(student.numel(), 1)
    return 0.5 * temperature**2 * divergence


def _class_mean_entropy(student: Tensor, strong: Tensor) -> Tensor:
    """Mean of -p log p over images, classes and pixels, each strong image counted three times."""
    log_p = log_softmax(student)
    per_image = -(log_p.exp() * log_p).flatten(1).mean(1)
    repeats = torch.ones_like(per_image).index_fill(0, strong, 3.0)
    return (per_image * repeats).sum() / repeats.sum().clamp_min(1)
