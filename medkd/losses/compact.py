"""A small student of any network: labels where there are some, a teacher everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medkd.losses.divergence import log_softmax, partial_cross_entropy
from medkd.losses.segmentation_distillation import (
    channelwise_divergence,
    intra_class_variation,
    pairwise_similarity,
    pixel_divergence,
)

__all__ = ["CompactLoss", "soft_dice"]

_SMALLEST = 1 / 512  # half a step of the eight bits that soft predictions are kept in


class CompactLoss(nn.Module):
    """Dice and cross-entropy of the labels, and the standard distillation losses of the prediction.

    With the student's and the teacher's log-probabilities log p_s and log p_t in the place of logits,

        L = λ_label (dice + ce) + λ_pixel pixel + λ_ch channelwise + λ_pair pairwise + λ_var variation + λ_f feature

    The distillation terms are those of ``medkd.losses.segmentation_distillation`` (pixel KD, CWD, SKD, IFVD). They need no
    label, but for ``variation``, which takes the teacher's class where there is none. Log-probabilities are what is left
    of a teacher in files, so that one from files and one that runs beside the student teach the same. ``feature`` is CWD of the
    maps of a layer of both (``medkd.networks.FeatureNetwork``), the student's brought to the size of the teacher's.

    Args:
        label_weight: λ_label; every weight is >= 0.
        pixel_weight: λ_pixel.
        channelwise_weight: λ_ch.
        pairwise_weight: λ_pair.
        variation_weight: λ_var.
        feature_weight: λ_f.
        temperature: T of ``pixel``, > 0.
        channelwise_temperature: T of ``channelwise`` and ``feature``, > 0.
        ignore_index: label value of pixels that are not annotated.

    Raises:
        ValueError: for a negative weight, or a temperature that is not positive.

    Example:
        >>> import torch
        >>> label = torch.zeros(2, 1, 8, 8)
        >>> batch = {"label": label, "teacher": torch.full((2, 3, 8, 8), 1 / 3)}
        >>> sorted(CompactLoss()(torch.zeros(2, 3, 8, 8), batch))
        ['ce', 'channelwise', 'dice', 'feature', 'loss', 'pairwise', 'pixel', 'variation']
    """

    def __init__(
        self,
        *,
        label_weight: float = 1.0,
        pixel_weight: float = 1.0,
        channelwise_weight: float = 0.0,
        pairwise_weight: float = 0.0,
        variation_weight: float = 0.0,
        feature_weight: float = 0.0,
        temperature: float = 2.0,
        channelwise_temperature: float = 4.0,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        self.weights = {
            "pixel": pixel_weight,
            "channelwise": channelwise_weight,
            "pairwise": pairwise_weight,
            "variation": variation_weight,
            "feature": feature_weight,
        }
        if min(label_weight, *self.weights.values()) < 0 or min(temperature, channelwise_temperature) <= 0:
            raise ValueError(
                f"expected weights >= 0 and temperatures > 0, got label {label_weight}, {self.weights} "
                f"and {[temperature, channelwise_temperature]}"
            )
        self.label_weight = label_weight
        self.temperature, self.channelwise_temperature = temperature, channelwise_temperature
        self.ignore_index = ignore_index

    def forward(self, output: Any, batch: Mapping[str, Tensor], teacher: Any = None) -> dict[str, Tensor]:
        """Compute the total and its terms.

        Args:
            output: the student's logits ``[B, K, *spatial]``; of a named tuple its ``prediction`` and, for ``feature``, that.
            batch: ``"label"`` ``[B, 1, *spatial]`` with classes in [0, K) or ``ignore_index``; with a teacher that is
                kept in files ``"teacher"``, its probabilities ``[B, K, *spatial]``; what is missing to a sum of one, as beyond
                the image's border, is background.
            teacher: the same of a teacher that runs beside the student.

        Returns:
            ``"loss"``, and the unweighted, detached terms ``"dice"``, ``"ce"``, ``"pixel"``, ``"channelwise"``,
            ``"pairwise"``, ``"variation"``, ``"feature"`` that have a weight.

        Raises:
            ValueError: if shapes do not fit, or a distillation term has a weight and there is no teacher.
        """
        features = [getattr(one, "feature", None) for one in (output, teacher)]
        output, teacher = (getattr(one, "prediction", one) for one in (output, teacher))
        label, log_student = batch["label"], log_softmax(output)
        if tuple(label.shape) != (len(output), 1, *output.shape[2:]):
            raise ValueError(f'batch["label"] does not fit logits of {tuple(output.shape)}: it is {tuple(label.shape)}')
        terms = {}
        if self.label_weight:
            terms["dice"] = soft_dice(log_student.exp(), label, ignore_index=self.ignore_index)
            terms["ce"] = partial_cross_entropy(output, label, ignore_index=self.ignore_index)
        if self.weights["feature"]:
            terms["feature"] = _feature(*features, temperature=self.channelwise_temperature)
        used = {name: term for name, term in self.terms().items() if self.weights[name]}
        if used:
            log_teacher = _log_teacher(teacher, batch.get("teacher"), output)
            terms |= {name: term(log_student, log_teacher, label) for name, term in used.items()}
        weights = {"dice": self.label_weight, "ce": self.label_weight, **self.weights}
        total = sum((weights[name] * term for name, term in terms.items()), start=output.new_zeros(()))
        return {"loss": total, **{name: term.detach() for name, term in terms.items()}}

    def terms(self) -> dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]:
        """The distillation terms: of log-probabilities of the student and of the teacher ``[B, K, *spatial]`` and the label.

        A loss of your own puts others in their place, whose weights are those of the same names.
        """

        def variation(student: Tensor, teacher: Tensor, label: Tensor) -> Tensor:
            label = torch.where(label == self.ignore_index, teacher.argmax(1, keepdim=True).to(label.dtype), label)
            return intra_class_variation(student, teacher, label, num_classes=student.shape[1])

        return {
            "pixel": lambda s, t, _: pixel_divergence(s, t, temperature=self.temperature),
            "channelwise": lambda s, t, _: channelwise_divergence(s, t, temperature=self.channelwise_temperature),
            "pairwise": lambda s, t, _: pairwise_similarity(s, t),
            "variation": variation,
        }


def _feature(student: Tensor | None, teacher: Tensor | None, *, temperature: float) -> Tensor:
    if student is None or teacher is None:
        raise ValueError(
            "feature_weight: expected a layer of the student and one of a teacher that runs beside it (student_layer, "
            "teacher_layer, no teacher_dir), found no such map"
        )
    if student.shape[1] != teacher.shape[1]:
        raise ValueError(
            f"feature_channels: expected {teacher.shape[1]}, as many as the teacher's map has, got {student.shape[1]}"
        )
    mode = "bilinear" if teacher.ndim == 4 else "trilinear"
    student = (
        F.interpolate(student, teacher.shape[2:], mode=mode) if student.shape[2:] != teacher.shape[2:] else student
    )
    return channelwise_divergence(student, teacher.detach(), temperature=temperature)


def _log_teacher(logits: Tensor | None, probabilities: Tensor | None, student: Tensor) -> Tensor:
    """Log-probabilities of the teacher, wherever it is, detached, with the smallest that files can hold."""
    if probabilities is None and logits is not None:
        probabilities = log_softmax(logits).exp()
    if probabilities is None:
        raise ValueError('expected a teacher, or its probabilities in batch["teacher"], found neither')
    if probabilities.shape != student.shape:
        raise ValueError(
            "expected the teacher's prediction in the shape of the student's, "
            f"{tuple(student.shape)}, got {tuple(probabilities.shape)}"
        )
    guide = probabilities.detach().float()
    missing = 1 - guide.sum(1, keepdim=True)  # all of it beyond the image's border
    guide = torch.cat([guide[:, :1] + missing, guide[:, 1:]], 1)
    return log_softmax(guide.clamp_min(_SMALLEST).log())


def soft_dice(probability: Tensor, label: Tensor, *, ignore_index: int = 255) -> Tensor:
    """1 − Dice of the structures, over the annotated pixels of the whole batch; mean over the classes from 1 on.

    Args:
        probability: ``[B, K, *spatial]``, sums to one over K.
        label: ``[B, 1, *spatial]`` with classes in [0, K) or ``ignore_index``.
        ignore_index: label value of pixels that are not annotated.

    Returns:
        A scalar in [0, 1]; 0 if no pixel is annotated.
    """
    annotated = (label != ignore_index).flatten(2)
    classes = torch.arange(1, probability.shape[1], device=label.device)
    truth = (label.flatten(2) == classes[:, None]).to(probability.dtype)
    predicted = probability[:, 1:].flatten(2) * annotated
    shared, size = (predicted * truth).sum((0, 2)), (predicted + truth).sum((0, 2))
    return (1 - (2 * shared + 1e-5) / (size + 1e-5)).mean()
