"""Peers of ConfKD for the same labels: mean teacher and cross pseudo supervision, on any mixture of dense and sparse ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from medkd.losses.divergence import log_softmax, partial_cross_entropy
from medkd.outputs import DualBranchOutput

__all__ = ["CrossPseudoLoss", "MeanTeacherLoss"]


class _PeerLoss(nn.Module, ABC):
    """``pce + kl_weight · consistency``, on checked shapes."""

    def __init__(self, *, kl_weight: float, ignore_index: int = 255) -> None:
        super().__init__()
        if not kl_weight >= 0:
            raise ValueError(f"kl_weight must be >= 0, got {kl_weight}")
        self.kl_weight = float(kl_weight)
        self.ignore_index = int(ignore_index)

    def forward(
        self, output: DualBranchOutput, batch: Mapping[str, Tensor], teacher: object = None
    ) -> dict[str, Tensor]:
        """Compute the total and its terms.

        Args:
            output: logits ``[B, K, *spatial]`` of both networks.
            batch: ``"label"`` ``[B, 1, *spatial]`` with classes in [0, K) or ``ignore_index``.
            teacher: unused; the output holds both networks.

        Returns:
            ``"loss"``, and the unweighted, detached terms ``"pce"`` and ``"consistency"``.

        Raises:
            ValueError: if shapes do not fit.
        """
        _validate_shapes(output, batch["label"])
        pce, consistency = self._terms(output, batch["label"])
        total = pce + self.kl_weight * consistency
        return {"loss": total, "pce": pce.detach(), "consistency": consistency.detach()}

    @abstractmethod
    def _terms(self, output: DualBranchOutput, label: Tensor) -> tuple[Tensor, Tensor]:
        """The differentiable terms, ``pce`` and ``consistency``."""

    def _pce(self, logits: Tensor, label: Tensor) -> Tensor:
        return partial_cross_entropy(logits, label, ignore_index=self.ignore_index)


class MeanTeacherLoss(_PeerLoss):
    """Mean teacher (arXiv 1703.01780) as UA-MT (arXiv 1907.07034) has it, without the mask of uncertain pixels.

    With ``p_s``, ``p_t`` the softmax of the logits of the student and of its moving average (``MeanTeacher``),

        L = L_pce(p_s) + λ · mean (p_s − p_t)²

    * ``pce``: mean cross-entropy over the annotated pixels of all images, dense and sparse labels alike;
    * ``consistency``: mean over all pixels, images and classes; the average does not learn from it.

    Args:
        kl_weight: λ >= 0; UA-MT's by default. It is called as in ``ConfKDLoss``, so that one key of a bundle, and what lets
            it rise, sets it for both.
        ignore_index: label value of pixels that are not annotated.

    Raises:
        ValueError: for a negative weight.
    """

    def __init__(self, *, kl_weight: float = 0.1, ignore_index: int = 255) -> None:
        super().__init__(kl_weight=kl_weight, ignore_index=ignore_index)

    def _terms(self, output: DualBranchOutput, label: Tensor) -> tuple[Tensor, Tensor]:
        guide, student = log_softmax(output.teacher.detach()).exp(), log_softmax(output.student).exp()
        return self._pce(output.student, label), nn.functional.mse_loss(student, guide)


class CrossPseudoLoss(_PeerLoss):
    """Cross pseudo supervision (Chen et al., arXiv 2106.01226): each of two networks learns from the other's classes.

    With ``a``, ``b`` the softmax of the logits of both networks (``TwoNetworks``),

        L = L_pce(a) + L_pce(b) + λ · (CE(a, argmax b) + CE(b, argmax a))

    * ``pce``: the sum of both mean cross-entropies over the annotated pixels of all images, dense and sparse alike;
    * ``consistency``: the sum of both mean cross-entropies over all pixels of all images.

    Args:
        kl_weight: λ >= 0; the paper's for PASCAL VOC by default. It is called as in ``ConfKDLoss``, so that one key of a
            bundle, and what lets it rise, sets it for both.
        ignore_index: label value of pixels that are not annotated.

    Raises:
        ValueError: for a negative weight.
    """

    def __init__(self, *, kl_weight: float = 1.5, ignore_index: int = 255) -> None:
        super().__init__(kl_weight=kl_weight, ignore_index=ignore_index)

    def _terms(self, output: DualBranchOutput, label: Tensor) -> tuple[Tensor, Tensor]:
        second, first = output
        pce = self._pce(first, label) + self._pce(second, label)
        chosen = [logits.argmax(1, keepdim=True) for logits in (second, first)]
        return pce, self._pce(first, chosen[0]) + self._pce(second, chosen[1])


def _validate_shapes(output: DualBranchOutput, label: Tensor) -> None:
    student = output.student
    if output.teacher.shape != student.shape:
        raise ValueError(
            f"expected logits of one shape from both networks, got {list(output.teacher.shape)} and {list(student.shape)}"
        )
    expected = (len(student), 1, *student.shape[2:])
    if tuple(label.shape) != expected:
        raise ValueError(f'batch["label"] must be {list(expected)} to fit the logits, got {list(label.shape)}')
