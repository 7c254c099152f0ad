"""Backbones of four levels, at strides 4, 8, 16 and 32, from ``transformers``, which needs no torchvision."""

from __future__ import annotations

from typing import Any

from medkd.networks.official_pvt import load_pvt_v2

__all__ = ["BACKBONES", "make_backbone"]

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
    """A module that gives ``.feature_maps``, four levels ``[B, hidden_sizes[i], H/s, W/s]`` with s = 4, 8, 16, 32.

    Args:
        name: a key of ``BACKBONES``.
        pretrained: ``None``, ``"hub"``, or the path of an official ``pvt_v2_b*.pth``.

    Raises:
        OSError: if the hub or the file cannot be reached.
        ValueError: for an unknown name, or weights that do not fit.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone must be one of {sorted(BACKBONES)}, got {name!r}")
    if name.startswith("resnet"):
        return _resnet(name, pretrained)
    backbone = _from_hub(name) if pretrained == "hub" else _pvt_v2(name)
    if pretrained not in (None, "hub"):
        load_pvt_v2(pretrained, backbone)
    for key, module in backbone.named_modules():
        # The official epsilons: 1e-6 in the blocks, 1e-5 after patch embedding and spatial reduction.
        if key.endswith(("patch_embedding.layer_norm", "attention.layer_norm")):
            module.eps = 1e-5
    return backbone


def _pvt_v2(name: str) -> Any:
    from transformers import PvtV2Backbone, PvtV2Config

    return PvtV2Backbone(PvtV2Config(num_attention_heads=[1, 2, 5, 8], out_features=_STAGES, **BACKBONES[name]))


def _resnet(name: str, pretrained: str | None) -> Any:
    from transformers import ResNetBackbone, ResNetConfig

    if pretrained not in (None, "hub"):
        raise ValueError(f"expected null or hub as pretrained weights of {name}, got {pretrained!r}")
    if pretrained == "hub":
        return _from_hub(name)
    return ResNetBackbone(ResNetConfig(embedding_size=64, out_features=_STAGES, **BACKBONES[name]))


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
