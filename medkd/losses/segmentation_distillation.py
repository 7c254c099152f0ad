"""The standard distillation losses of semantic segmentation, for logits or features of two or three dimensions.

Everything is computed in float32 at least, whatever autocast says. Gradients flow to both arguments, as in
``kl_divergence``: detach the teacher where it must not learn.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from medkd.losses.divergence import kl_divergence

__all__ = ["channelwise_divergence", "intra_class_variation", "pairwise_similarity", "pixel_divergence"]


def pixel_divergence(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """Mean over the pixels of ``T² KL(softmax_K(t/T) ‖ softmax_K(s/T))``: Hinton et al., arXiv 1503.02531, for every pixel.

    Args:
        student: logits ``[B, K, *spatial]``.
        teacher: logits of the same shape. Log-probabilities are logits.
        temperature: T, > 0; larger values give softer distributions.

    Returns:
        A scalar >= 0.

    Raises:
        ValueError: if the shapes differ.
    """
    return kl_divergence(teacher, student, temperature=temperature).mean()


def channelwise_divergence(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """``T² KL(softmax(t_c/T) ‖ softmax(s_c/T))`` of every channel over its pixels, mean over channels and images (CWD).

    Shu et al., arXiv 2011.13256, equations 2 and 3. Where the teacher is large in a channel the student follows.

    Args:
        student: logits or features ``[B, C, *spatial]``.
        teacher: of the same shape.
        temperature: T, > 0.

    Returns:
        A scalar >= 0.

    Raises:
        ValueError: if the shapes differ.
    """
    _check(student, teacher, channels=True)
    return kl_divergence(teacher.flatten(2), student.flatten(2), temperature=temperature, dim=2).mean()


def pairwise_similarity(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the cosine similarities of all pairs of places (SKD): Liu et al., arXiv 1903.04197, eq. 4.

    Both maps are max-pooled by two first. The matrices of N × N pairs are never made: with unit vectors as the rows of S
    and T, ‖SSᵀ − TTᵀ‖² = ‖SᵀS‖² + ‖TᵀT‖² − 2‖SᵀT‖², of matrices of the channels.

    Args:
        student: features or logits ``[B, C, *spatial]``.
        teacher: ``[B, C', *spatial]``; the channels may differ in number.

    Returns:
        A scalar >= 0, up to rounding.

    Raises:
        ValueError: if batch or spatial shape differ.
    """
    _check(student, teacher)
    with torch.autocast(student.device.type, enabled=False):
        s, t = _places(student), _places(teacher)
        pairs = s.shape[-1] ** 2
        squares = _square(s, s) + _square(t, t) - 2 * _square(s, t)
        return (squares / pairs).mean()


def intra_class_variation(student: Tensor, teacher: Tensor, label: Tensor, *, num_classes: int) -> Tensor:
    """Mean squared difference of the maps of cosine similarity to the class's mean (IFVD): Wang et al., ECCV 2020, eq. 2.

    A class's mean is that of all its pixels in an image. Pixels of no class, such as the ignored, count as 0.

    Args:
        student: features or logits ``[B, C, *spatial]``.
        teacher: ``[B, C', *spatial]``.
        label: classes ``[B, 1, *spatial]``, taken at the nearest pixel where its size is another; values that are not in
            [0, num_classes) belong to no class.
        num_classes: with the background.

    Returns:
        A scalar >= 0.

    Raises:
        ValueError: if batch or spatial shape of student and teacher differ.
    """
    _check(student, teacher)
    if label.shape[2:] != student.shape[2:]:
        label = F.interpolate(label.float(), student.shape[2:], mode="nearest-exact")
    classes = torch.arange(num_classes, device=label.device)
    belongs = label.flatten(1)[:, None, :] == classes[:, None]  # [B, classes, pixels]
    with torch.autocast(student.device.type, enabled=False):
        return F.mse_loss(_variation(student, belongs), _variation(teacher, belongs))


def _check(student: Tensor, teacher: Tensor, *, channels: bool = False) -> None:
    same = student.shape == teacher.shape if channels else student.shape[2:] == teacher.shape[2:]
    if not same or len(student) != len(teacher):
        raise ValueError(f"expected maps of one size, got {tuple(student.shape)} and {tuple(teacher.shape)}")


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _places(x: Tensor) -> Tensor:
    """Unit vectors ``[B, C, N]`` of the places of a map that is pooled by two."""
    pool = F.max_pool3d if x.ndim == 5 else F.max_pool2d
    vectors = pool(_at_least_float32(x), 2, ceil_mode=True).flatten(2)
    return F.normalize(vectors, dim=1)


def _square(a: Tensor, b: Tensor) -> Tensor:
    """``‖a bᵀ‖²`` of every image."""
    return (a @ b.transpose(1, 2)).square().sum((1, 2))


def _variation(x: Tensor, belongs: Tensor) -> Tensor:
    """Cosine similarity ``[B, N]`` of every pixel with the mean of its class; 0 without a class."""
    pixels = _at_least_float32(x).flatten(2)
    weights = belongs.to(pixels.dtype)
    means = pixels @ weights.transpose(1, 2) / (weights.sum(2)[:, None, :] + 1e-6)
    # With every class's mean, [B, classes, N]; then that with the own one's.
    similarity = F.normalize(means, dim=1).transpose(1, 2) @ F.normalize(pixels, dim=1)
    return (similarity * weights).sum(1)
