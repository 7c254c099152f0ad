"""Two copies of one network that teach each other: mean teacher and cross pseudo supervision, peers of a dual branch."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from medkd.networks.dual_branch import DualBranch
from medkd.outputs import DualBranchOutput

__all__ = ["MeanTeacher", "TwoNetworks"]


class MeanTeacher(nn.Module):
    """A network and the exponential moving average of its weights, which teaches it (arXiv 1703.01780).

    Before step n = 0, 1, … of a training, with the student's weights θ and the average's θ',

        θ' ← a · θ' + (1 − a) · θ,  a = min(decay, 1 − 1 / (n + 1))

    so that the first average is the student itself. It sees each image with noise of its own, as in UA-MT (arXiv
    1907.07034), and never has gradients. Buffers, such as the statistics of a batch normalisation, begin each step as the
    student's.

    The average is what is deployed, as in the paper: ``module``, as DDP and PyTorch's ``AveragedModel`` call what they
    wrap, so that evaluation and ``models/model.pt`` hold a plain network of the kind that was given. All of it, the
    step as well, is in the ``state_dict`` of the whole. For a training in one process.

    Args:
        network: the student, a ``DualBranch`` (of which the student's branch alone is used) or a network whose output is
            logits ``[B, K, *spatial]``.
        decay: of the average, in [0, 1); 0.99 forgets in about 100 steps.
        noise: SD of the Gaussian noise, in units of the image, >= 0; clipped at twice that.

    Raises:
        ValueError: for another decay or noise.

    Examples:
        >>> import torch
        >>> network = MeanTeacher(torch.nn.Conv2d(1, 4, 1))
        >>> output = network(torch.zeros(2, 1, 8, 8))
        >>> output.student.requires_grad, output.teacher.requires_grad
        (True, False)
    """

    step: Tensor

    def __init__(self, network: nn.Module, *, decay: float = 0.99, noise: float = 0.1) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        if not noise >= 0:
            raise ValueError(f"noise must be >= 0, got {noise}")
        self.student = network
        self.module = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self.noise = noise
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor | DualBranchOutput:
        """Logits of both for images ``[B, C, *spatial]`` (training mode), or of the average alone (eval mode)."""
        if not self.training:
            return _logits(self.module, x)
        self._average()
        with torch.no_grad():
            noise = (self.noise * torch.randn_like(x)).clamp(-2 * self.noise, 2 * self.noise)
            teacher = _logits(self.module, x + noise)
        return DualBranchOutput(teacher=teacher, student=_logits(self.student, x))

    @torch.no_grad()
    def _average(self) -> None:
        """One step of the average. ``AveragedModel`` would read its counter, for which the host waits for the device."""
        share = (1 / (self.step + 1)).clamp_min(1 - self.decay)
        for average, current in zip(self.module.parameters(), self.student.parameters(), strict=True):
            average.lerp_(current, share.to(average.dtype))
        for mine, own in zip(self.module.buffers(), self.student.buffers(), strict=True):
            mine.copy_(own)
        self.step += 1


class TwoNetworks(nn.Module):
    """Two networks on the same images, each of which learns from the other: cross pseudo supervision (arXiv 2106.01226).

    The first is what is deployed: ``module``, as DDP calls what it wraps, so that evaluation and ``models/model.pt`` hold
    a plain network of the kind that was given. For a training in one process.

    Args:
        first: a ``DualBranch`` (of which the student's branch alone is used) or a network whose output is logits
            ``[B, K, *spatial]``; the student of the output.
        second: of the same kind, with other weights to start from; the teacher of the output.

    Raises:
        ValueError: if both start from the same weights: they would stay the same network.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        pairs = zip(first.parameters(), second.parameters(), strict=False)
        if all(one.shape == other.shape and torch.equal(one, other) for one, other in pairs):
            raise ValueError("expected two networks that start from different weights, got the same weights twice")
        self.module = first
        self.second = second

    def forward(self, x: Tensor) -> Tensor | DualBranchOutput:
        """Logits of both for images ``[B, C, *spatial]`` (training mode), or of the first alone (eval mode)."""
        if not self.training:
            return _logits(self.module, x)
        return DualBranchOutput(teacher=_logits(self.second, x), student=_logits(self.module, x))


def _logits(network: nn.Module, x: Tensor) -> Tensor:
    """What is deployed of a network, in either mode; of two branches only that one is decoded."""
    no_image = torch.empty(0, dtype=torch.long, device=x.device)
    output = network(x, no_image) if isinstance(network, DualBranch) else network(x)
    logits: Tensor = getattr(output, "prediction", output)
    return logits
