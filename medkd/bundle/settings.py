"""What a student was trained with: kept with its weights, taken on by every configuration that applies it."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medkd.bundle.command_line import given_keys
from medkd.bundle.plain import OTHER, resolved
from medkd.bundle.running import change, running_parser
from medkd.networks.checkpoints import read_settings

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

__all__ = ["adopt", "adopt_student", "check_networks", "settings_of", "student_settings"]

_logger = logging.getLogger(__name__)

# What may be chosen anew: the point at which a student operates, the part of an image that it sees at once, and the scale at
# which it sees a slide of another scanner.
# Everything else must be as in training.
_CHOICES = {
    "threshold": ["threshold"],
    "smoothing": ["smoothing"],
    "window_size": ["window_size"],
    "downsample": (_SCALE := ["downsample", "mpp"]),
    "mpp": _SCALE,
}
_NETWORKS = ("medkd.networks.", "monai.networks.", "torch.nn.")
_KEYS = {
    "class_names", "spatial_dims", "pixdim", "patch_size", "window_size", "image_size", "mean", "std", "smoothing", "threshold",
    "downsample", "mpp", "network_def", "kind", "intensity_range", "keep_largest",
}  # fmt: skip


def student_settings(*keys: str) -> dict[str, Any]:
    """The values of top-level keys of the configuration that is being evaluated, as plain data.

    ``BestModel`` keeps them with the weights. Components are described by their ``_target_`` and resolved arguments, without
    the weights that they started from (``pretrained``), which nobody needs who has the student's. A value that is no plain data (an argument ``$torch.nn.ReLU``) is left out, with a warning.
    """
    parser = running_parser()
    found = {key: resolved(parser, key) for key in keys}
    for key in (key for key, value in found.items() if value is OTHER):
        _logger.warning("%s is not kept with the weights, for it is no plain data: inference will need it too", key)
    return {key: _without_weights(value) for key, value in found.items() if value is not OTHER}


def _without_weights(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_weights(one) for one in value]
    if not isinstance(value, dict):
        return value
    none = {
        key: None if isinstance(start, str) else False for key, start in value.items() if key == "pretrained" and start
    }
    return {**{key: _without_weights(one) for key, one in value.items()}, **none}


def adopt_student(*, required: bool = False) -> None:
    """Take on the settings of the student at ``model_path``, before the network of what applies it is made.

    Args:
        required: it has to be there now; otherwise that it is not is told where it is loaded.

    Raises:
        FileNotFoundError: if it is required, and not there.
        ValueError: where the command line contradicts them, with both values of every key, or for a threshold that is not between 0 and 1.
    """
    parser = running_parser()
    model = Path(parser.get_parsed_content("model_path"))
    if required or model.is_file():
        adopt(parser, model, given=given_keys(sys.argv))
    threshold = resolved(parser, "threshold") if "threshold" in parser else None
    if isinstance(threshold, int | float) and not 0 < threshold < 1:
        raise ValueError(f"threshold: expected a number between 0 and 1, found {threshold:g}")


def settings_of(model: str | Path) -> dict[str, Any]:
    """What a student's file says of it; where files lie, for example, is no such thing and is passed over.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no student's.
    """
    return {key: value for key, value in read_settings(model).items() if key in _KEYS}


def adopt(parser: ConfigParser, model: str | Path, *, given: Collection[str] = ()) -> None:
    """Set the keys of a configuration to what a student was trained with.

    Args:
        parser: the configuration; keys that it does not have are passed over, and so are settings that say nothing of a
            student (where files lie).
        model: the student's file. One that does not say (an official one, or an older one) changes nothing.
        given: keys, or places in them (``network_def#channels``), that were asked for by the user.

    Raises:
        ValueError: if what was asked for is not what the student was trained with, or the file names a network of no
            known package.
    """
    settings = settings_of(model)
    asked = {key for place in given for key in _CHOICES.get(place, [])}
    change(
        parser, {key: None for key in asked if key not in given and key in parser}
    )  # one of two takes the other's place
    if not settings:
        _logger.warning("%s does not say what it was trained with: the configuration's own settings are used", model)
        return
    wanted = [place for place in given if place.split("#")[0] not in _CHOICES]
    problems = list(_contradictions(parser, settings, wanted, model))
    if problems:
        raise ValueError("; ".join(problems))
    check_networks(parser, settings, model)
    if not isinstance(
        parser.get("window_size"), str
    ):  # as shipped it refers to patch_size: this one was chosen in the file
        asked.add("window_size")
    taken = {key: value for key, value in settings.items() if key in parser and key not in asked}
    for key, value in taken.items():
        if resolved(parser, key) != value:
            _logger.info("%s: %s, with which %s was trained", key, value, model)
    change(parser, taken)
    if "threshold" in taken and "smoothing" in settings and "smoothing" in parser and "smoothing" not in taken:
        known = (taken["threshold"], settings["smoothing"], resolved(parser, "smoothing"))
        if known[1] != known[2]:
            _logger.warning("threshold: %s belongs to maps of a smoothing of %s, these are of %s", *known)


def _contradictions(
    parser: ConfigParser, settings: Mapping[str, Any], places: Collection[str], model: str | Path
) -> Iterator[str]:
    own = [place for place in places if place.split("#")[0] in settings and not place.endswith("#pretrained")]
    for place in own:
        trained, found = _at(settings, place), resolved(parser, place)
        if found != trained:
            yield f"--{place}: expected {trained}, with which {model} was trained, found {found}"


def _at(settings: Mapping[str, Any], place: str) -> Any:
    """What stands at a place, ``network_def#channels#0``; ``None`` where there is none."""
    value: Any = settings
    for part in place.split("#"):
        if isinstance(value, list):
            value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
    return value


def check_networks(parser: ConfigParser, settings: Mapping[str, Any], model: str | Path) -> None:
    """A file of weights is data: it may not name just any function to call.

    Args:
        parser: the configuration; what it names itself is trusted.
        settings: of the file.
        model: the file, for the error.

    Raises:
        ValueError: for a target that neither the configuration names nor is a network of a known package.
    """
    for key, value in settings.items():
        own = set(_targets(parser.get(key)))
        for target in _targets(value):
            if target not in own and not _is_network(target):
                raise ValueError(
                    f"{model}: expected a network of {' or '.join(_NETWORKS)}*, found {target}; if you trust it, write it "
                    f"into {key} of the configuration"
                )


def _is_network(target: str) -> bool:
    """Whether it is a class of networks in a known package; a module that such a package has imported is none of it."""
    from torch import nn

    name = target if "." in target else f"monai.networks.nets.{target}"  # where MONAI looks for plain names
    module, _, attribute = name.rpartition(".")
    if not f"{module}.".startswith(_NETWORKS):
        return False
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(found, type) and issubclass(found, nn.Module) and f"{found.__module__}.".startswith(_NETWORKS)


def _targets(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield str(value["_target_"])
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _targets(one)
