"""What the networks of medkd return in training mode: named tuples, which DDP and ``torch.compile`` take as they are.

Networks make them and losses read them, so that neither needs the other.
"""

# No postponed annotations here: TorchScript reads the fields of a NamedTuple as types, not as strings.

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["DualBranchOutput", "FeatureOutput", "PolypPVTOutput", "SideOutputs", "positions"]


class DualBranchOutput(NamedTuple):
    """Logits ``[B, K, *spatial]`` of the two branches.

    ``teacher`` may hold only the strong images, in batch order; ``student`` always holds all of them.
    """

    teacher: Tensor
    student: Tensor

    @property
    def prediction(self) -> Tensor:
        """What is deployed: the student's logits."""
        return self.student


class FeatureOutput(NamedTuple):
    """Logits ``[B, K, *spatial]`` and the map ``[B, C, *spatial']`` of one of the network's layers."""

    prediction: Tensor
    feature: Tensor


class PolypPVTOutput(NamedTuple):
    """Logits ``[B, 1, H, W]`` of the two heads."""

    fusion: Tensor
    similarity: Tensor

    @property
    def prediction(self) -> Tensor:
        """What is deployed: the sum of both maps."""
        return self.fusion + self.similarity


class SideOutputs(NamedTuple):
    """Probabilities ``[B, 1, H, W]``: one map per level, and their weighted sum."""

    sides: tuple[Tensor, ...]
    fused: Tensor

    @property
    def prediction(self) -> Tensor:
        """What is deployed: the fused map."""
        return self.fused


def positions(images: Tensor, device: str | torch.device | None = None) -> Tensor:
    """Positions in the batch ``[N]`` of the images that a flag names.

    Choosing by positions never makes the host wait for the device. Finding them does, unless the flag is on the CPU.

    Args:
        images: a flag per image, bool ``[B]``, or positions already.
        device: where to choose; by default where ``images`` are.
    """
    found = images.nonzero().flatten() if images.dtype == torch.bool else images
    return found.to(device, non_blocking=True)
