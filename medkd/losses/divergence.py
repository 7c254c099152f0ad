"""The only temperature softmax, Kullback-Leibler divergence, entropy and partial cross-entropy of medkd.

Everything is computed from logits through ``log_softmax``, in float32 at least, so that the results stay finite where
float16 or bfloat16 logits saturate (automatic mixed precision).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["entropy", "kl_divergence", "log_softmax", "partial_cross_entropy"]


def log_softmax(logits: Tensor, *, temperature: float = 1.0, dim: int = 1) -> Tensor:
    """Logarithm of ``softmax(logits / temperature)`` along ``dim``, promoted to float32 from lower precisions.

    Args:
        logits: any shape, any real values.
        temperature: divides the logits; > 0. Larger values give softer distributions.
        dim: the axis that sums to one; the class axis of ``[B, K, *spatial]`` by default.

    Returns:
        Log-probabilities in (-inf, 0], of the shape of ``logits``.
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    return torch.log_softmax(logits / temperature, dim=dim)


def kl_divergence(teacher: Tensor, student: Tensor, *, temperature: float = 1.0, dim: int = 1) -> Tensor:
    """Distillation divergence ``T² KL(p_t ‖ p_s)`` between two sets of logits, per position.

    ``p = softmax(z / T)``; the factor ``T²`` keeps the gradient's size independent of T
    (Hinton et al., arXiv 1503.02531, section 2.1). Gradients flow to both arguments: detach the teacher where it
    must not learn.

    Args:
        teacher: logits of the guide, e.g. ``[B, K, *spatial]``.
        student: logits of the same shape.
        temperature: T, > 0.
        dim: the axis of the distribution.

    Returns:
        Values >= 0 with ``dim`` removed, e.g. ``[B, *spatial]``.

    Raises:
        ValueError: if the shapes differ.
    """
    if teacher.shape != student.shape:
        msg = f"teacher and student logits must have one shape, got {tuple(teacher.shape)} and {tuple(student.shape)}"
        raise ValueError(msg)
    log_t = log_softmax(teacher, temperature=temperature, dim=dim)
    log_s = log_softmax(student, temperature=temperature, dim=dim)
    return temperature**2 * (log_t.exp() * (log_t - log_s)).sum(dim)


def entropy(logits: Tensor, *, dim: int = 1) -> Tensor:
    """Shannon entropy ``-Σ_k p_k log p_k`` of ``softmax(logits)`` in nats, per position.

    Args:
        logits: e.g. ``[B, K, *spatial]``.
        dim: the axis of the distribution.

    Returns:
        Values in [0, log K] with ``dim`` removed, e.g. ``[B, *spatial]``.
    """
    log_p = log_softmax(logits, dim=dim)
    return -(log_p.exp() * log_p).sum(dim)


def partial_cross_entropy(logits: Tensor, label: Tensor, *, ignore_index: int = 255) -> Tensor:
    """Mean of ``-log p[label]`` over the pixels that are annotated; 0 if none is.

    Args:
        logits: ``[B, K, *spatial]``.
        label: ``[B, 1, *spatial]`` with classes in [0, K) or ``ignore_index``.
        ignore_index: label value of pixels that are not annotated.

    Returns:
        A scalar >= 0. Nothing waits for the device.
    """
    target = label[:, 0].long()
    annotated = target != ignore_index
    log_p = log_softmax(logits)
    picked = log_p.gather(1, torch.where(annotated, target, 0).unsqueeze(1))[:, 0]
    return -(picked * annotated).sum() / annotated.sum().clamp_min(1)
