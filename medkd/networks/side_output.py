"""Networks with a map at every level of a backbone, and their weighted sum (HED; DWS-MIL; IKD-MIL, arXiv 2407.10274)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medkd.networks.backbones import feature_maps
from medkd.networks.checkpoints import load_weights, read_weights
from medkd.networks.vgg import VGGFeatures, load_vgg16
from medkd.outputs import SideOutputs

__all__ = ["SideOutputNetwork", "SideOutputVGG"]


class SideOutputNetwork(nn.Module):
    """Any backbone of several levels, with a head at each: 1 × 1 convolution, bilinear upsampling, sigmoid.

    Every cell of a level is upsampled to where it was seen, so that a map does not depend on where its tile was cut.

    Args:
        backbone: gives the feature maps ``[B, C_l, H_l, W_l]`` of an image, as a list or tuple (MONAI's encoders), or as
            ``feature_maps`` of what it returns (the backbones of ``transformers``).
        levels: which of its levels to use; all by default.
        fusion_weights: share of each used level in the fused map; equal by default.
        in_channels: channels of the image.
        align_corners: upsample as the authors' code does: the outermost cells of a level move to the borders of the image, by
            half a cell, 3.5 pixels at stride 8, and tiles of a slide do not meet.

    Raises:
        TypeError: if the backbone gives something else.
        ValueError: if there are not as many weights as levels.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        levels: Sequence[int] | None = None,
        fusion_weights: Sequence[float] | None = None,
        in_channels: int = 3,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.align_corners = align_corners
        self.levels = list(levels) if levels is not None else None
        channels = self._channels(in_channels)
        self.fusion_weights = list(fusion_weights or [1 / len(channels)] * len(channels))
        if len(self.fusion_weights) != len(channels):
            raise ValueError(
                f"expected a fusion weight for each of {len(channels)} levels, got {len(self.fusion_weights)}"
            )
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in channels)

    def outputs(self, x: Tensor) -> SideOutputs:
        """Every map of an image ``[B, C, H, W]``, as probabilities ``[B, 1, H, W]``."""
        # Under autocast too, probabilities are made in float32: bfloat16 has none between .996 and 1.
        maps = [head(level).float() for head, level in zip(self.heads, self._levels(x), strict=True)]
        size, corners = x.shape[-2:], self.align_corners
        sides = [F.interpolate(m, size, mode="bilinear", align_corners=corners).sigmoid() for m in maps]
        fused = torch.stack([w * side for w, side in zip(self.fusion_weights, sides, strict=True)]).sum(0)
        return SideOutputs(tuple(sides), fused)

    def forward(self, x: Tensor) -> Any:
        """``SideOutputs`` in training mode, the fused map ``[B, 1, H, W]`` in eval mode."""
        maps = self.outputs(x)
        return maps if self.training else maps.fused

    def _levels(self, x: Tensor) -> list[Tensor]:
        features = feature_maps(self.backbone, x)
        return [features[level] for level in self.levels] if self.levels is not None else features

    def _channels(self, in_channels: int) -> list[int]:
        """The width of every level: what the backbone makes of an empty image."""
        training = self.backbone.training
        with torch.no_grad():
            self.backbone.eval()
            widths = [level.shape[1] for level in self._levels(torch.zeros(1, in_channels, 64, 64))]
        self.backbone.train(training)
        return widths


class SideOutputVGG(SideOutputNetwork):
    """Stages 1 to 3 of VGG16 with BatchNorm, fused as ``0.3 f1 + 0.3 f2 + 0.4 f3``; 1,738,243 parameters.

    Args:
        pretrained: path of ImageNet weights as torchvision publishes them (``vgg16_bn-*.pth`` or ``vgg16-*.pth``);
            ``None`` for random weights.
        align_corners: as in ``SideOutputNetwork``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it does not hold VGG16's weights.
    """

    def __init__(self, pretrained: str | None = None, *, align_corners: bool = False) -> None:
        super().__init__(VGGFeatures(), fusion_weights=(0.3, 0.3, 0.4), align_corners=align_corners)
        if pretrained:
            load_vgg16(pretrained, self.backbone)

    @classmethod
    def from_official(cls, path: str | Path) -> SideOutputVGG:
        """The network of a checkpoint (a bare state dict) of the authors' code, which aligns corners.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if keys are missing, extra or mis-shaped: all of them in one message.
        """
        network = cls(align_corners=True)
        load_weights({_our_name(key): value for key, value in read_weights(path).items()}, network, path)
        return network


def _our_name(official: str) -> str:
    """``stage1.0.conv.1.weight`` → ``backbone.stages.0.0.1.weight``; ``decoder1.0.bias`` → ``heads.0.bias``."""
    part, *rest = official.split(".")
    if part.startswith("stage") and part[5:].isdigit():
        return ".".join(["backbone.stages", str(int(part[5:]) - 1), *(name for name in rest if name != "conv")])
    if part.startswith("decoder") and part[7:].isdigit():
        return ".".join(["heads", str(int(part[7:]) - 1), *rest[1:]])
    return official
