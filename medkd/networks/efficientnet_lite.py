"""EfficientNet-Lite: EfficientNet (Tan and Le, arXiv 1905.11946) with ReLU6 and without squeeze-excitation, as an encoder."""

# No postponed annotations here: TorchScript reads the signatures as types, not as strings.

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.blocks import BaseEncoder
from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE
from torch import Tensor, nn

from medkd.networks.official_lite import load_lite

__all__ = ["LITE", "EfficientNetLite"]

# Multipliers of width and of depth. The tiny one ends after its first block of 112 channels.
LITE = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2), "lite0_tiny": (1.0, 1.0)}
_TINY_BLOCKS = 9
_STEM = 32
# Of every stage of Lite0: kernel, stride, expansion, channels, blocks. The ends keep their number of blocks in all variants.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


class EfficientNetLite(nn.Module, BaseEncoder):
    """An encoder of five levels, at strides 2, 4, 8, 16 and 32, for images of any size.

    Once ``medkd.networks`` is imported, MONAI's ``FlexibleUNet`` knows it as ``efficientnet-lite0`` to ``efficientnet-lite2``,
    for images whose sides are multiples of 32.

    Its ImageNet weights were trained on images that are normalised as (x − 127)/128 of 0 to 255: of 0 to 1, mean 127/255
    and standard deviation 128/255 in every channel.

    Args:
        variant: ``"lite0"`` (2,958,848 parameters), ``"lite1"`` (3,723,520) or ``"lite2"`` (4,357,952); ``"lite0_tiny"``
            (360,288) is lite0 up to stride 16, its last level the mean of 2 × 2 features there.
        in_channels: channels of the image.
        pretrained: ImageNet weights: ``"imagenet"`` (or ``True``, as MONAI says it) to take them from the extra
            ``medkd[imagenet]``; the path of such a file; ``None`` for random weights. Those for three channels also
            fill an encoder of one, for grey images.
        spatial_dims: 2; MONAI asks for it.

    Attributes:
        channels: the width of every level.

    Raises:
        ModuleNotFoundError: if the weights' package is not installed.
        FileNotFoundError: if there is no such file.
        ValueError: for an unknown variant, another ``spatial_dims``, or weights that do not fit or are not the published ones.

    Examples:
        >>> import torch
        >>> [tuple(level.shape[1:]) for level in EfficientNetLite("lite0")(torch.zeros(1, 3, 65, 96))]
        [(16, 33, 48), (24, 17, 24), (40, 9, 12), (112, 5, 6), (320, 3, 3)]
    """

    def __init__(
        self,
        variant: str = "lite0",
        *,
        in_channels: int = 3,
        pretrained: str | bool | None = None,
        spatial_dims: int = 2,
    ) -> None:
        if variant not in LITE:
            raise ValueError(f"variant must be one of {sorted(LITE)}, got {variant!r}")
        if spatial_dims != 2:
            raise ValueError(f"EfficientNet-Lite has two spatial dimensions, got spatial_dims {spatial_dims}")
        super().__init__()
        plan = _plan(variant)
        self.stem = _ConvNorm(in_channels, _STEM, 3, stride=2)
        self.blocks = nn.ModuleList(_Block(**sizes) for sizes in plan)
        # A level is what comes before the next halving, and what comes last.
        self.ends = [n for n in range(len(plan)) if n + 1 == len(plan) or plan[n + 1]["stride"] == 2]
        self.channels = _channels(variant)
        if pretrained:
            load_lite("imagenet" if pretrained is True else pretrained, variant, in_channels, self)
        # A CPU takes half the time, and what comes behind goes on in it.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Five levels ``[B, channels[i], ⌈H/s⌉, ⌈W/s⌉]`` of images ``[B, C, H, W]``, s = 2, 4, 8, 16, 32."""
        x = self.stem(x)
        levels: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.ends:
                levels.append(x)
        if len(levels) < len(self.channels):
            levels.append(F.avg_pool2d(x, 2, ceil_mode=True))
        return levels

    @classmethod
    def get_encoder_names(cls) -> list[str]:
        """The names that MONAI's ``FlexibleUNet`` takes, one for each variant."""
        return [f"efficientnet-{variant}" for variant in LITE]

    @classmethod
    def get_encoder_parameters(cls) -> list[dict[str, Any]]:
        """The arguments of each variant."""
        return [{"variant": variant, "spatial_dims": 2, "in_channels": 3, "pretrained": False} for variant in LITE]

    @classmethod
    def num_channels_per_output(cls) -> list[tuple[int, ...]]:
        """The widths of the levels of each variant."""
        return [tuple(_channels(variant)) for variant in LITE]

    @classmethod
    def num_outputs(cls) -> list[int]:
        """The number of levels of each variant."""
        return [5 for _ in LITE]


class _ConvNorm(nn.Module):
    """Convolution with the padding that TensorFlow calls "same", and batch norm; ReLU6 unless told otherwise."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, activated: bool = True
    ) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        padding = kernel // 2 if stride == 1 else 0
        convolution = nn.Conv2d if groups == 1 else _Depthwise
        self.conv = convolution(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        nn.init.normal_(self.conv.weight, 0.0, math.sqrt(2 * groups / (kernel**2 * outputs)))
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3)
        self.activation = nn.ReLU6() if activated else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 2:
            # ⌈n/2⌉ outputs need kernel − 2 more pixels, one more for odd n; the second side gets the odd one.
            height, width = self.kernel - 2 + x.shape[2] % 2, self.kernel - 2 + x.shape[3] % 2
            x = F.pad(x, [width // 2, width - width // 2, height // 2, height - height // 2])
        y: Tensor = self.activation(self.norm(self.conv(x)))
        return y


class _Depthwise(nn.Conv2d):
    """Stays in float32 on a CPU: its gradient in bfloat16 takes four times as long (torch 2.13), more than all else gains."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            y: Tensor = self._conv_forward(x, self.weight, self.bias)
            return y
        return self._in_float32(x)

    @torch.jit.unused
    def _in_float32(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return self._in_float32(x.float())
        y: Tensor = self._conv_forward(x, self.weight, self.bias)
        return y


class _Block(nn.Module):
    """Inverted bottleneck: expand, filter every channel by itself, project; added to its input where shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = _ConvNorm(inputs, inner, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _ConvNorm(inner, inner, kernel, stride=stride, groups=inner)
        self.project = _ConvNorm(inner, outputs, 1, activated=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


def _width(channels: int, variant: str) -> int:
    """Scaled, to a multiple of 8; no width here falls by more than a tenth, where the definition would go up."""
    return int(channels * LITE[variant][0] + 4) // 8 * 8


def _channels(variant: str) -> list[int]:
    """The widths of the five levels."""
    w = [_width(stage[3], variant) for stage in _STAGES]
    return [w[0], w[1], w[2], w[4], w[4] if variant == "lite0_tiny" else w[6]]


def _plan(variant: str) -> list[dict[str, int]]:
    """The sizes of every block."""
    plan = list(_blocks(variant))
    return plan[:_TINY_BLOCKS] if variant == "lite0_tiny" else plan


def _blocks(variant: str) -> Iterator[dict[str, int]]:
    inputs = _STEM
    for stage, (kernel, stride, expansion, channels, blocks) in enumerate(_STAGES):
        outputs = _width(channels, variant)
        scaled = 0 < stage < len(_STAGES) - 1
        for number in range(math.ceil(blocks * LITE[variant][1]) if scaled else blocks):
            yield {
                "inputs": inputs,
                "outputs": outputs,
                "kernel": kernel,
                "stride": 1 if number else stride,
                "expansion": expansion,
            }
            inputs = outputs


FLEXUNET_BACKBONE.register_class(EfficientNetLite)
