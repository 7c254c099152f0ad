"""Official weights of PVTv2 (``pvt_v2_b0.pth`` …) and Polyp-PVT (``PolypPVT.pth``), under our names and those of transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from medkd.networks.checkpoints import load_weights, read_weights

__all__ = ["backbone_names", "load_polyp_pvt"]

_BACKBONE = [
    (r"^patch_embed(\d)\.proj\.", r"encoder.layers.\1.patch_embedding.proj."),
    (r"^patch_embed(\d)\.norm\.", r"encoder.layers.\1.patch_embedding.layer_norm."),
    (r"^norm(\d)\.", r"encoder.layers.\1.layer_norm."),
    (r"^block(\d)\.(\d+)\.norm([12])\.", r"encoder.layers.\1.blocks.\2.layer_norm_\3."),
    (r"^block(\d)\.(\d+)\.attn\.q\.", r"encoder.layers.\1.blocks.\2.attention.query."),
    (r"^block(\d)\.(\d+)\.attn\.sr\.", r"encoder.layers.\1.blocks.\2.attention.spatial_reduction."),
    (r"^block(\d)\.(\d+)\.attn\.norm\.", r"encoder.layers.\1.blocks.\2.attention.layer_norm."),
    (r"^block(\d)\.(\d+)\.attn\.", r"encoder.layers.\1.blocks.\2.attention."),
    (r"^block(\d)\.(\d+)\.mlp\.fc([12])\.", r"encoder.layers.\1.blocks.\2.mlp.dense\3."),
    (r"^block(\d)\.(\d+)\.mlp\.", r"encoder.layers.\1.blocks.\2.mlp."),
]
_HEAD = {
    "Translayer2_0": "reduce_shallow",
    "Translayer2_1": "reduce_deep.0",
    "Translayer3_1": "reduce_deep.1",
    "Translayer4_1": "reduce_deep.2",
    "CFM.conv_upsample1": "fuse.deep_to_middle",
    "CFM.conv_upsample2": "fuse.deep_to_shallow",
    "CFM.conv_upsample3": "fuse.middle_to_shallow",
    "CFM.conv_upsample4": "fuse.carry_deep",
    "CFM.conv_upsample5": "fuse.carry_middle",
    "CFM.conv_concat2": "fuse.join_middle",
    "CFM.conv_concat3": "fuse.join_shallow",
    "CFM.conv4": "fuse.out",
    "ca.fc1": "identify.squeeze",
    "ca.fc2": "identify.excite",
    "sa.conv1": "identify.place",
    "SAM.conv_state": "aggregate.state",
    "SAM.conv_proj": "aggregate.project",
    "SAM.gcn.conv1": "aggregate.mix_nodes",
    "SAM.gcn.conv2": "aggregate.mix_states",
    "SAM.conv_extend": "aggregate.extend",
    "out_CFM": "fusion_head",
    "out_SAM": "similarity_head",
}


def load_polyp_pvt(path: str | Path, network: nn.Module) -> nn.Module:
    """Fill a ``PolypPVT`` from an official ``PolypPVT.pth``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a checkpoint, or keys are missing, extra or mis-shaped: all of them in one message.
    """
    prefix = "backbone."
    official = read_weights(path)
    backbone = {key.removeprefix(prefix): value for key, value in official.items() if key.startswith(prefix)}
    weights = {prefix + key: value for key, value in backbone_names(backbone).items()}
    weights |= {_head_name(key): value for key, value in official.items() if not key.startswith(prefix)}
    return load_weights(weights, network, path)


def backbone_names(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An official PVTv2 under the keys of ``transformers``; keys and values, one matrix there, are two here."""
    weights: dict[str, Tensor] = {}
    for key, value in official.items():
        if ".attn.kv." in key:
            for name, half in zip(("key", "value"), value.chunk(2), strict=True):
                weights[_backbone_name(key.replace(".kv.", f".{name}."))] = half
        else:
            weights[_backbone_name(key)] = value
    return weights


def _backbone_name(key: str) -> str:
    for pattern, name in _BACKBONE:
        found = re.match(pattern, key)
        if found:
            stage = str(int(found[1]) - 1)  # official stages count from 1
            return re.sub(pattern, name.replace(r"\1", stage), key)
    return key


def _head_name(key: str) -> str:
    block, _, parameter = key.rpartition(".")
    for official, name in _HEAD.items():
        if block == official or block.startswith(official + "."):
            rest = block.removeprefix(official).replace(".bn", ".norm")
            return f"{name}{rest}.{parameter}"
    return key
