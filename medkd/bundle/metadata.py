"""A bundle's metadata, said of the student that it holds."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

__all__ = ["with_settings"]


def with_settings(metadata: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata with the classes, the dimensions and the kind of images that a student was trained with.

    Codes follow the names that they were written for: a class of another name has none.

    Args:
        metadata: of ``metadata.json``.
        settings: of the student; without ``class_names``, ``spatial_dims`` and ``kind`` nothing is changed.
    """
    content: dict[str, Any] = copy.deepcopy(dict(metadata))
    data = content["network_data_format"]
    if "class_names" in settings:
        _rename(content, next(iter(data["outputs"].values())), list(settings["class_names"]))
    if "spatial_dims" in settings:
        for end in (*data["inputs"].values(), *data["outputs"].values()):
            end["spatial_shape"] = [end["spatial_shape"][0]] * int(settings["spatial_dims"])
    if settings.get("kind") == "frame":
        for image in data["inputs"].values():
            image |= {"num_channels": 3, "modality": "RGB", "channel_def": {"0": "R", "1": "G", "2": "B"}}
    return content


def _rename(content: dict[str, Any], output: dict[str, Any], names: list[str]) -> None:
    before, after = output["channel_def"], {str(value): name for value, name in enumerate(["background", *names])}
    if before == after:
        return
    if output["num_channels"] == len(before):  # one channel is the probability of the one class
        output["num_channels"] = len(after)
    output["channel_def"] = after
    known = {before[value]: code for value, code in content.get("label_codes", {}).items() if value in before}
    if known:
        content["label_codes"] = {value: known[name] for value, name in after.items() if name in known}
    for key in ("label_classes", "pred_classes"):
        content[key] = ", ".join(f"{value} {name}" for value, name in after.items())
