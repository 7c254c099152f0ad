"""Backbones with levels at strides 4, 8, 16 and 32: EfficientNet-Lite, and those of ``transformers``; none needs torchvision."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from medkd.networks.checkpoints import load_weights, read_weights
from medkd.networks.efficientnet_lite import LITE, EfficientNetLite
from medkd.networks.official_pvt import backbone_names

__all__ = ["BACKBONES", "feature_maps", "load_pvt_v2", "make_backbone", "pvt_name", "require_multiples_of_32"]

# Widths and depths: PVTv2 (Wang et al., arXiv 2106.13797, table 1), ResNet (He et al., arXiv 1512.03385, table 1).
BACKBONES: dict[str, dict[str, Any]] = {
    "b0": {"hidden_sizes": [32, 64, 160, 256], "depths": [2, 2, 2, 2], "mlp_ratios": [8, 8, 4, 4]},
    "b1": {"hidden_sizes": [64, 128, 320, 512], "depths": [2, 2, 2, 2], "mlp_ratios": [8, 8, 4, 4]},
    "b2": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 6, 3], "mlp_ratios": [8, 8, 4, 4]},
    "b3": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 18, 3], "mlp_ratios": [8, 8, 4, 4]},
    "b4": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 8, 27, 3], "mlp_ratios": [8, 8, 4, 4]},
    "b5": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 6, 40, 3], "mlp_ratios": [4, 4, 4, 4]},
    "resnet18": {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"},
    "resnet34": {"hidden_sizes": [64, 128, 256, 512], "depths": [3, 4, 6, 3], "layer_type": "basic"},
}
_STAGES = ["stage1", "stage2", "stage3", "stage4"]


def make_backbone(name: str, pretrained: str | None = None) -> Any:
    """A module of which ``feature_maps`` gives levels ``[B, channels[i], H/s, W/s]``, the last four with s = 4, 8, 16, 32.

    Args:
        name: a key of ``BACKBONES`` or of ``LITE``.
        pretrained: ``None``; ``"imagenet"`` or a path for EfficientNet-Lite; ``"hub"``, or the path of an official
            ``pvt_v2_b*.pth``, for the others.

    Raises:
        ModuleNotFoundError: if the package of EfficientNet-Lite's weights is not installed.
        OSError: if the hub or the file cannot be reached.
        ValueError: for an unknown name, or weights that do not fit.
    """
    if name not in {*BACKBONES, *LITE}:
        raise ValueError(f"backbone must be one of {sorted([*BACKBONES, *LITE])}, got {name!r}")
    word, other = ("imagenet", "hub") if name in LITE else ("hub", "imagenet")
    if pretrained == other and not name.startswith("resnet"):
        raise ValueError(f"expected null, {word} or a path as pretrained weights of {name}, got {other!r}")
    if name in LITE:
        return EfficientNetLite(name, pretrained=pretrained)
    if name.startswith("resnet") and pretrained not in (None, "hub"):
        raise ValueError(f"expected null or hub as pretrained weights of {name}, got {pretrained!r}")
    backbone = _from_hub(name) if pretrained == "hub" else _new(name)
    if pretrained and pretrained != "hub":
        load_pvt_v2(pretrained, backbone)
    for key, module in backbone.named_modules():
        # The official epsilons: 1e-6 in the blocks, 1e-5 after patch embedding and spatial reduction.
        if key.endswith(("patch_embedding.layer_norm", "attention.layer_norm")):
            module.eps = 1e-5
    return backbone


def feature_maps(backbone: Any, x: Tensor) -> list[Tensor]:
    """The levels of an image, of MONAI's encoders (a list or tuple) and of those of ``transformers`` (its ``feature_maps``).

    Raises:
        TypeError: if the backbone gives something else.
    """
    features = backbone(x)
    features = getattr(features, "feature_maps", features)
    if not isinstance(features, (list, tuple)):
        raise TypeError(f"expected a backbone that gives feature maps, got {type(features).__name__} from it")
    return list(features)


def require_multiples_of_32(x: Tensor) -> None:
    """Refuse an image ``[B, C, H, W]`` whose levels would not fit onto each other.

    Raises:
        ValueError: with the sides that were found.
    """
    # While a graph is traced or exported, sides are symbols.
    if any(isinstance(side, int) and side % 32 for side in x.shape[-2:]):
        raise ValueError(f"expected sides that are multiples of 32, got {tuple(x.shape[-2:])}; pad or resize the image")


def load_pvt_v2(path: str | Path, backbone: Any = None) -> Any:
    """Read an official ``pvt_v2_b*.pth``; the classifier in it is left out.

    Args:
        path: the file.
        backbone: a ``PvtV2Backbone`` to fill; ``None`` to make the one that the file is of.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a checkpoint, or keys are missing, extra or mis-shaped: all of them in one message.
    """
    official = {key: value for key, value in read_weights(path).items() if not key.startswith("head.")}
    return load_weights(backbone_names(official), backbone or make_backbone(pvt_name(official, path)), path)


def pvt_name(official: Mapping[str, Tensor], path: str | Path) -> str:
    """Which PVTv2 official weights are of, by their widths and depths: ``"b0"`` to ``"b5"``.

    Raises:
        ValueError: if they are of another network, with the file's path.
    """
    widths = [official[key].shape[0] for key in (f"patch_embed{n}.proj.weight" for n in range(1, 5)) if key in official]
    blocks = {(match[1], match[2]) for match in (re.match(r"block(\d)\.(\d+)\.", key) for key in official) if match}
    depths = [sum(stage == str(n) for stage, _ in blocks) for n in range(1, 5)]
    for name, sizes in BACKBONES.items():
        if name.startswith("b") and [sizes["hidden_sizes"], sizes["depths"]] == [widths, depths]:
            return name
    raise ValueError(f"{path}: expected the weights of a PVTv2 b0 to b5, found widths {widths} and depths {depths}")


def _new(name: str) -> Any:
    from transformers import PvtV2Backbone, PvtV2Config, ResNetBackbone, ResNetConfig

    settings = {"out_features": _STAGES, **BACKBONES[name]}
    if name.startswith("resnet"):
        return ResNetBackbone(ResNetConfig(embedding_size=64, **settings))
    return PvtV2Backbone(PvtV2Config(num_attention_heads=[1, 2, 5, 8], **settings))


def _from_hub(name: str) -> Any:
    from transformers import AutoBackbone

    resnet = name.startswith("resnet")
    repository = f"microsoft/resnet-{name[6:]}" if resnet else f"OpenGVLab/pvt_v2_{name}"
    instead = "" if resnet else f"download pvt_v2_{name}.pth elsewhere and give its path as `pretrained`, or "
    try:
        return AutoBackbone.from_pretrained(repository, out_features=_STAGES)
    except OSError as error:
        raise OSError(
            f"{repository}: the Hugging Face hub cannot be reached ({str(error).splitlines()[0]}); {instead}train without"
        ) from error
