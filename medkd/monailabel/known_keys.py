"""What a request may say: known keys, each with its type and range, and nothing that MONAI would evaluate.

MONAI Label writes fields of requests into a bundle's configuration, and there a string that begins with ``$`` is code.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from monailabel.utils.others.generic import device_list

from medkd.monailabel.kinds import (
    MAPPING,
    PAIR,
    SWITCH,
    WORDS,
    Kind,
    is_numbers,
    like,
    or_none,
    or_several,
    text,
    whole,
)
from medkd.monailabel.refusal import refused

__all__ = ["check_request"]


def _is_tiles(value: Any) -> bool:
    places = value if isinstance(value, list) else [None]
    return all(isinstance(t, dict) and all(is_numbers(t.get(k), 2) for k in ("location", "size")) for t in places)


_NAME = text(r"[^/\\.][^/\\]*", "a name")
_POINTS = Kind("a list of points", lambda value: isinstance(value, list) and all(map(is_numbers, value)))
_DEVICE = Kind(
    "cpu, cuda, cuda:N or the name of a device",
    lambda value: isinstance(value, str) and bool(re.fullmatch(r"cpu|cuda(:\d+)?", value) or value in device_list()),
)
_COMMON = {
    "model": _NAME,
    "client_id": or_none(WORDS),
    "device": or_several(_DEVICE),
    "gpus": or_none(text(r"all|\d+(,\d+)*", "all, or numbers of devices with commas")),
    "multi_gpu": SWITCH,
    "model_filename": or_several(_NAME),
}
_SAMPLING = {
    "label_tag": or_none(_NAME),
    "labels": or_none(Kind("names of labels", lambda value: isinstance(value, (list, Mapping)))),
}
_KEYS: dict[str, dict[str, Kind]] = {
    "train": _COMMON
    | {
        "max_epochs": whole(1, 100_000),
        "val_split": Kind(
            "-1, or a number from 0 up to 1",
            lambda value: is_numbers([value]) and (value == -1 or 0 <= value < 1),
        ),
        "pretrained": SWITCH,
        "force_multi_gpu": SWITCH,
    },
    "infer": _COMMON
    | _SAMPLING
    | {
        "image": or_none(WORDS),  # names and paths: see check_image
        "images": or_several(text(r"[^/\\.][^/\\]*", "all, labeled, unlabeled, or names of studies")),
        "session": MAPPING,
        "label": WORDS,  # the label that a viewer has chosen, or the file that the server made of an upload
        "description": WORDS,
        "id": whole(0, 2**31),
        "_id": whole(0, 2**31),
        "_image_id": WORDS,
        "save_label": SWITCH,
        "label_info": or_none(
            Kind("a list of mappings", lambda value: isinstance(value, list) and all(map(MAPPING.fits, value)))
        ),
        "result_extension": or_none(text(r"\.[A-Za-z0-9.]{1,12}", "a file's extension")),
        "result_dtype": or_none(text(r"u?int(8|16|32|64)|float(16|32|64)", "a type of numbers such as uint8")),
        "result_compress": SWITCH,
        "result_write_to_file": SWITCH,
        "restore_label_idx": SWITCH,
        "largest_cc": SWITCH,
        "logging": text(r"(?i)debug|info|warning|error|critical", "a level such as INFO"),
        "timeout": whole(1, 86_400),
        "max_workers": whole(0, 1024),
        "max_batch_size": whole(0, 2**31),
        "level": or_none(whole(0, 32)),
        "location": or_none(PAIR),
        "size": or_none(PAIR),
        "tile_size": or_none(PAIR),
        "min_poly_area": or_none(whole(0, 2**31)),
        "output": or_none(text(r"asap|dsa|json", "asap, dsa or json")),
        "wsi_tiles": Kind("a list of locations and sizes", _is_tiles),
        "annotations": Kind("what the server has drawn before", lambda value: True),
        "foreground": _POINTS,
        "background": _POINTS,
        "ignore_small_patches": SWITCH,
        "ignore_non_click_patches": SWITCH,
    },
    "scoring": {key: _COMMON[key] for key in ("client_id", "device", "gpus")} | {"method": _NAME},
    "activelearning": _SAMPLING
    | {
        "strategy": _NAME,
        "model": _NAME,
        "client_id": or_none(WORDS),
        "image": or_none(WORDS),
        "patch_size": PAIR,
        "image_size": PAIR,
    },
}
_KEYS["batch_infer"] = _KEYS["infer"]


def check_request(
    method: str, request: Mapping[str, Any], *, offered: Mapping[str, Any] | None = None, tasks: Collection[str] = ()
) -> None:
    """Refuse a request that says anything else than data.

    Args:
        method: ``"train"``, ``"infer"``, ``"batch_infer"``, ``"scoring"`` or ``"activelearning"``.
        request: its keys and values.
        offered: options of the bundle's own with their defaults, whose types a value must have.
        tasks: names of models or methods; under such a key a request for all of them has the one's own keys.

    Raises:
        HTTPException: of status 400, with the key, what was expected and what was found.
    """
    offered = offered or {}
    for key, value in request.items():
        _check_plain(str(key), value)
        if key in tasks and isinstance(value, Mapping):
            check_request(method, value, offered=offered)
            continue
        kind = _KEYS[method].get(key) or (like(offered[key]) if key in offered else None)
        if kind is None:
            raise refused(str(key), f"one of {', '.join(sorted({*_KEYS[method], *offered}))}", "an unknown key")
        if not kind.fits(value):
            raise refused(str(key), kind.expected, value)


def _check_plain(key: str, value: Any) -> None:
    """No expression, reference, macro or component at any depth."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            if str(name).startswith("_"):
                raise refused(key, "no key that begins with _", name)
            _check_plain(key, str(name))
            _check_plain(key, one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            _check_plain(key, one)
    for one in (key, value):
        if isinstance(one, str) and one.lstrip().startswith(("$", "@", "%")):
            raise refused(key, "no text that begins with $, @ or %", one)
