"""The first three stages of VGG16 (Simonyan and Zisserman, arXiv 1409.1556), with BatchNorm; no torchvision needed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from torch import Tensor, nn

from medkd.networks.checkpoints import load_weights, read_weights

__all__ = ["VGGFeatures", "load_vgg16"]

_STAGES = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256))


class VGGFeatures(nn.Module):
    """The pooled features after each stage: widths 64, 128 and 256 at strides 2, 4 and 8."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_stage(widths) for widths in _STAGES)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Three levels of an image ``[B, 3, H, W]``."""
        levels = []
        for stage in self.stages:
            x = self.pool(stage(x))
            levels.append(x)
        return levels


def load_vgg16(path: str | Path, features: nn.Module) -> nn.Module:
    """Fill the stages from a torchvision state dict, of VGG16 with BatchNorm or (convolutions only) without.

    Args:
        path: ``vgg16_bn-*.pth`` or ``vgg16-*.pth``.
        features: a ``VGGFeatures``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it does not hold VGG16's weights.
    """
    official = read_weights(path)
    normalised = any(key.endswith("running_mean") for key in official)
    own = features.state_dict()
    weights = {} if normalised else dict(own)  # without BatchNorm in the file ours starts as the identity
    for number, name in _numbered(normalised):
        for field in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            if f"features.{number}.{field}" in official:
                weights[f"{name}.{field}"] = official[f"features.{number}.{field}"]
            elif not normalised and field == "weight":
                weights.pop(f"{name}.{field}", None)  # so that it is reported as missing
    for key in own.keys() - weights.keys():
        if key.endswith("num_batches_tracked"):  # older files lack the counter, which only matters without momentum
            weights[key] = own[key]
    return load_weights(weights, features, path)


def _stage(widths: tuple[int, ...]) -> nn.Sequential:
    blocks = [
        nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True))
        for before, after in pairwise(widths)
    ]
    return nn.Sequential(*blocks)


def _numbered(normalised: bool) -> Iterator[tuple[int, str]]:
    """The number in torchvision and our name of every layer with weights."""
    number = 0
    for stage, widths in enumerate(_STAGES):
        for block in range(len(widths) - 1):
            yield number, f"stages.{stage}.{block}.0"
            if normalised:
                yield number + 1, f"stages.{stage}.{block}.1"
            number += 3 if normalised else 2
        number += 1  # the pooling
