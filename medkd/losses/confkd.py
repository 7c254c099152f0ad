"""ConfKD: mixed supervision with a dual-branch network (Liu et al., arXiv 2109.10902)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from medkd.losses import confkd_released
from medkd.losses.divergence import entropy, kl_divergence, partial_cross_entropy
from medkd.outputs import DualBranchOutput, positions

__all__ = ["ConfKDLoss"]

Images = Literal["strong", "weak", "all"]

# The weights of the paper variant win the ladder on ACDC (docs/methods/confkd.md); those of the released variant are
# the authors' and belong to the released arithmetic, whose KL never exceeds 0.06.
_WEIGHTS = {"paper": (1.0, 0.3, 1.0, 0.1), "released": (1.0, 0.1, 50.0, 1.0)}


class ConfKDLoss(nn.Module):
    """The four terms of ConfKD on the outputs of a dual-branch network.

    With ``p_t``, ``p_s`` the softmax of the teacher's and the student's logits, S the densely annotated images and
    W the others,

        L = λ_ce · L_ce(p_t, S) + λ_pce · L_pce(p_s, S ∪ W) + λ_kl · L_kl + λ_ent · L_ent

    * ``ce``: mean cross-entropy of the teacher over the annotated pixels of S;
    * ``pce``: mean cross-entropy of the student over the annotated pixels of all images ("partial" cross-entropy);
    * ``kl``: mean over pixels of ``T² KL(p_t ‖ p_s)``, teacher detached;
    * ``entropy``: mean over pixels of the entropy of ``p_s``.

    Args:
        variant: ``"paper"`` is the method with the defects of its code repaired; ``"released"`` is exactly what the
            released code computes (two classes only; see ``medkd.losses.confkd_released``).
        ce_weight: weight of ``ce``; every weight is >= 0 and ``None`` means the variant's default.
        pce_weight: weight of ``pce``.
        kl_weight: weight of ``kl``.
        entropy_weight: weight of ``entropy``. All weights are plain attributes, so a parameter scheduler may set them.
        temperature: T of the divergence, > 0.
        kl_on: the images on which the student follows the teacher: ``"strong"``, ``"weak"`` or ``"all"``.
        entropy_on: the images on which the student is pushed to be confident: ``"weak"``, ``"strong"`` or ``"all"``.
        ignore_index: label value of pixels that are not annotated.

    Raises:
        ValueError: for an unknown option, a negative weight or a temperature that is not positive.

    Example:
        >>> import torch
        >>> from medkd.networks import DualBranchOutput
        >>> logits = torch.zeros(2, 4, 8, 8)
        >>> label = torch.zeros(2, 1, 8, 8)
        >>> label[1] = 255  # nothing is annotated in the second image
        >>> terms = ConfKDLoss()(DualBranchOutput(logits, logits), {"label": label})
        >>> sorted(terms)
        ['ce', 'entropy', 'kl', 'loss', 'pce']
    """

    def __init__(
        self,
        *,
        variant: Literal["paper", "released"] = "paper",
        ce_weight: float | None = None,
        pce_weight: float | None = None,
        kl_weight: float | None = None,
        entropy_weight: float | None = None,
        temperature: float = 2.0,
        kl_on: Images = "strong",
        entropy_on: Images = "weak",
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        _validate_options(variant=variant, kl_on=kl_on, entropy_on=entropy_on, temperature=temperature)
        given = (ce_weight, pce_weight, kl_weight, entropy_weight)
        weights = [default if w is None else float(w) for w, default in zip(given, _WEIGHTS[variant], strict=True)]
        if min(weights) < 0:
            raise ValueError(f"the weights (ce, pce, kl, entropy) must be >= 0, got {weights}")
        self.ce_weight, self.pce_weight, self.kl_weight, self.entropy_weight = weights
        self.variant = variant
        self.temperature = float(temperature)
        self.kl_on = kl_on
        self.entropy_on = entropy_on
        self.ignore_index = int(ignore_index)

    def forward(
        self, output: DualBranchOutput, batch: Mapping[str, Tensor], teacher: object = None
    ) -> dict[str, Tensor]:
        """Compute the total and its terms.

        Args:
            output: logits ``[B, K, *spatial]`` of both branches; the teacher's may hold only the strong images, in
                batch order.
            batch: ``"label"`` ``[B, 1, *spatial]`` with classes in [0, K) or ``ignore_index``; optionally
                ``"weak_label"`` of the same shape, what the student may see (default: ``"label"``); optionally
                ``"strong"``, bool ``[B]`` (default: the images without an ignored pixel). While it is on the CPU, as
                ``DistillationTrainer`` leaves it, the host never waits for the device (but for the check of
                ``"released"``).
            teacher: unused; the teacher is a branch of the network.

        Returns:
            ``"loss"``, and the unweighted, detached terms ``"ce"``, ``"pce"``, ``"kl"``, ``"entropy"`` that have a
            weight. A term whose pixels the batch does not have is 0.

        Raises:
            ValueError: if shapes do not fit, the teacher's logits lack images that ``kl_on`` needs, or (released) a
                pixel of a strong image is ignored.
        """
        label = batch["label"]
        weak_label = batch.get("weak_label", label)
        _validate_shapes(output.student, label, weak_label)
        images = _images(batch, label, self.ignore_index, output.student.device)
        guide = _teacher_logits(output, images, self.kl_on)
        terms = self._terms(guide, output.student, label, weak_label, images)
        weights = {"ce": self.ce_weight, "pce": self.pce_weight, "kl": self.kl_weight, "entropy": self.entropy_weight}
        total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        return {"loss": total, **{name: term.detach() for name, term in terms.items() if weights[name]}}

    def _terms(
        self, guide: Tensor, student: Tensor, label: Tensor, weak_label: Tensor, images: _Positions
    ) -> dict[str, Tensor]:
        """The differentiable terms; ``guide`` holds the strong images, or all of them."""
        complete, strong = len(guide) == len(student), images.strong
        strong_guide = guide[strong] if complete else guide
        if self.variant == "released":
            if bool((label[strong] == self.ignore_index).any()):
                raise ValueError(
                    'variant="released" expects every pixel of a strong image to be annotated, found some ignored'
                )
            seeds = weak_label[:, 0] == 1
            return confkd_released.terms(
                strong_guide, student, label[strong, 0], seeds, strong, images.weak, self.temperature
            )
        on = getattr(images, self.kl_on)
        kl_guide = (guide[on] if complete else guide).detach()
        return {
            "ce": partial_cross_entropy(strong_guide, label[strong], ignore_index=self.ignore_index),
            "pce": partial_cross_entropy(student, weak_label, ignore_index=self.ignore_index),
            "kl": _mean(kl_divergence(kl_guide, student[on], temperature=self.temperature)),
            "entropy": _mean(entropy(student[getattr(images, self.entropy_on)])),
        }


def _mean(values: Tensor) -> Tensor:
    """Mean, or a 0 that still belongs to the graph when there is nothing to average."""
    return values.sum() / max(values.numel(), 1)


class _Positions(NamedTuple):
    """Positions in the batch ``[N]`` of the images that an option names."""

    strong: Tensor
    weak: Tensor
    all: Tensor


def _images(batch: Mapping[str, Tensor], label: Tensor, ignore_index: int, device: torch.device) -> _Positions:
    """The flag that the batch gives, else the images without an ignored pixel are the strong ones."""
    if "strong" not in batch:
        strong = (label != ignore_index).flatten(1).all(1)
    else:
        strong = torch.as_tensor(batch["strong"]).bool().flatten()
    if len(strong) != len(label):
        raise ValueError(f'batch["strong"] must have one flag per image ({len(label)}), got {len(strong)}')
    every = torch.arange(len(strong), device=device)
    return _Positions(positions(strong, device), positions(~strong, device), every)


def _teacher_logits(output: DualBranchOutput, images: _Positions, kl_on: Images) -> Tensor:
    """The teacher's logits, after a check that the images the loss needs are among them."""
    guide, student = output
    needed = len(images.strong) if kl_on == "strong" else len(student)
    if len(guide) not in {needed, len(student)} or guide.shape[1:] != student.shape[1:]:
        msg = (
            f'with kl_on="{kl_on}" the teacher logits must be [{needed} or {len(student)}, '
            f"{', '.join(map(str, student.shape[1:]))}], got {list(guide.shape)}"
        )
        raise ValueError(msg)
    return guide


def _validate_shapes(student: Tensor, label: Tensor, weak_label: Tensor) -> None:
    expected = (len(student), 1, *student.shape[2:])
    for name, value in (("label", label), ("weak_label", weak_label)):
        if tuple(value.shape) != expected:
            raise ValueError(f'batch["{name}"] must be {list(expected)} to fit the logits, got {list(value.shape)}')


def _validate_options(*, variant: str, kl_on: str, entropy_on: str, temperature: float) -> None:
    if variant not in _WEIGHTS:
        raise ValueError(f"variant must be one of {sorted(_WEIGHTS)}, got {variant!r}")
    for name, value in (("kl_on", kl_on), ("entropy_on", entropy_on)):
        if value not in {"strong", "weak", "all"}:
            raise ValueError(f'{name} must be "strong", "weak" or "all", got {value!r}')
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
