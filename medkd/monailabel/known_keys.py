"""What a request may say: known keys, each with its type and range, and nothing that MONAI would evaluate.

MONAI Label writes fields of requests into a bundle's configuration, and there a string that begins with ``$`` is code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from monailabel.utils.others.generic import device_list

from medkd.monailabel.refusal import refused

__all__ = ["check_request"]


@dataclass(frozen=True)
class _Kind:
    """Of a value: what it should be, in words, and whether it is."""

    expected: str
    fits: Callable[[Any], bool]


def _text(pattern: str, expected: str) -> _Kind:
    found = re.compile(pattern)
    return _Kind(expected, lambda value: isinstance(value, str) and bool(found.fullmatch(value)))


def _whole(low: int, high: int) -> _Kind:
    fits = lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high  # noqa: E731
    return _Kind(f"a whole number from {low} to {high}", fits)


def _numbers(value: Any, count: int | None = None) -> bool:
    """Whether it is a sequence of so many numbers."""
    whole = isinstance(value, (list, tuple)) and (count is None or len(value) == count)
    return whole and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)


def _or_none(kind: _Kind) -> _Kind:
    return _Kind(f"{kind.expected}, or nothing", lambda value: value is None or kind.fits(value))


def _or_several(kind: _Kind) -> _Kind:
    """Viewers send back a whole list of options; the server takes the first."""
    several: Callable[[Any], bool] = lambda value: isinstance(value, list) and all(map(kind.fits, value))  # noqa: E731
    return _Kind(f"{kind.expected}, or a list of it", lambda value: kind.fits(value) or several(value))


def _tiles(value: Any) -> bool:
    places = value if isinstance(value, list) else [None]
    return all(isinstance(t, dict) and all(_numbers(t.get(k), 2) for k in ("location", "size")) for t in places)


def _points(value: Any) -> bool:
    return isinstance(value, list) and all(map(_numbers, value))


_SWITCH = _Kind("true or false", lambda value: isinstance(value, bool))
_NAME = _text(r"[^/\\.][^/\\]*", "a name")
_WORDS = _text(r".{0,1000}", "a text")
_PAIR = _Kind("two numbers", lambda value: _numbers(value, 2))
_POINTS = _Kind("a list of points", _points)
_MAPPING = _Kind("a mapping", lambda value: isinstance(value, Mapping))
_DEVICE = _Kind(
    "cpu, cuda, cuda:N or the name of a device",
    lambda value: isinstance(value, str) and bool(re.fullmatch(r"cpu|cuda(:\d+)?", value) or value in device_list()),
)
_COMMON = {
    "model": _NAME,
    "client_id": _or_none(_WORDS),
    "device": _or_several(_DEVICE),
    "gpus": _or_none(_text(r"all|\d+(,\d+)*", "all, or numbers of devices with commas")),
    "multi_gpu": _SWITCH,
    "model_filename": _or_several(_NAME),
}
_SAMPLING = {
    "label_tag": _or_none(_NAME),
    "labels": _or_none(_Kind("names of labels", lambda value: isinstance(value, (list, Mapping)))),
}
_KEYS: dict[str, dict[str, _Kind]] = {
    "train": _COMMON
    | {
        "max_epochs": _whole(1, 100_000),
        "val_split": _Kind(
            "-1, or a number from 0 up to 1",
            lambda value: _numbers([value]) and (value == -1 or 0 <= value < 1),
        ),
        "pretrained": _SWITCH,
        "force_multi_gpu": _SWITCH,
    },
    "infer": _COMMON
    | _SAMPLING
    | {
        "image": _Kind("the name of a study", lambda value: True),  # paths and names: see check_image
        "images": _or_several(_text(r"[^/\\.][^/\\]*", "all, labeled, unlabeled, or names of studies")),
        "session": _MAPPING,
        "label": _WORDS,  # the label that a viewer has chosen, or the file that the server made of an upload
        "description": _WORDS,
        "id": _whole(0, 2**31),
        "_id": _whole(0, 2**31),
        "_image_id": _WORDS,
        "save_label": _SWITCH,
        "label_info": _or_none(
            _Kind("a list of mappings", lambda value: isinstance(value, list) and all(map(_MAPPING.fits, value)))
        ),
        "result_extension": _or_none(_text(r"\.[A-Za-z0-9.]{1,12}", "a file's extension")),
        "result_dtype": _or_none(_text(r"u?int(8|16|32|64)|float(16|32|64)", "a type of numbers such as uint8")),
        "result_compress": _SWITCH,
        "result_write_to_file": _SWITCH,
        "restore_label_idx": _SWITCH,
        "largest_cc": _SWITCH,
        "logging": _text(r"(?i)debug|info|warning|error|critical", "a level such as INFO"),
        "timeout": _whole(1, 86_400),
        "max_workers": _whole(0, 1024),
        "max_batch_size": _whole(0, 2**31),
        "level": _or_none(_whole(0, 32)),
        "location": _or_none(_PAIR),
        "size": _or_none(_PAIR),
        "tile_size": _or_none(_PAIR),
        "min_poly_area": _or_none(_whole(0, 2**31)),
        "output": _or_none(_text(r"asap|dsa|json", "asap, dsa or json")),
        "wsi_tiles": _Kind("a list of locations and sizes", _tiles),
        "annotations": _Kind("what the server has drawn before", lambda value: True),
        "foreground": _POINTS,
        "background": _POINTS,
        "ignore_small_patches": _SWITCH,
        "ignore_non_click_patches": _SWITCH,
    },
    "scoring": {key: _COMMON[key] for key in ("client_id", "device", "gpus")} | {"method": _NAME},
    "activelearning": _SAMPLING
    | {
        "strategy": _NAME,
        "model": _NAME,
        "client_id": _or_none(_WORDS),
        "image": _or_none(_WORDS),
        "patch_size": _PAIR,
        "image_size": _PAIR,
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
        kind = _KEYS[method].get(key) or (_like(offered[key]) if key in offered else None)
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
    for text in (key, value):
        if isinstance(text, str) and text.lstrip().startswith(("$", "@", "%")):
            raise refused(key, "no text that begins with $, @ or %", text)


def _like(default: Any) -> _Kind:
    """As an option that the bundle offers."""
    if isinstance(default, list):
        return _Kind(f"one of {default}", lambda value: value in default or value == default)
    if isinstance(default, bool):
        return _SWITCH
    if isinstance(default, (int, float)):
        return _Kind("a number", lambda value: _numbers([value]))
    return _WORDS
