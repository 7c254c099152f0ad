"""What a student was trained with: kept with its weights, taken on by every configuration that applies it."""

from __future__ import annotations

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

__all__ = ["adopt", "adopt_student", "student_settings"]

_logger = logging.getLogger(__name__)

# What may be chosen anew: the point at which a student operates, and the scale at which it sees a slide of another scanner.
# Everything else must be as in training.
_CHOICES = {
    "threshold": ["threshold"],
    "smoothing": ["smoothing"],
    "downsample": (_SCALE := ["downsample", "mpp"]),
    "mpp": _SCALE,
}
_NETWORKS = ("medkd.networks.", "monai.networks.")


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


def adopt_student() -> None:
    """Take on the settings of the student at ``model_path``, before the network of what applies it is made.

    Raises:
        ValueError: where the command line contradicts them, with both values of every key.
    """
    parser = running_parser()
    model = Path(parser.get_parsed_content("model_path"))
    if model.is_file():  # that it is not there is told where it is loaded
        adopt(parser, model, given=given_keys(sys.argv))


def adopt(parser: ConfigParser, model: str | Path, *, given: Collection[str] = ()) -> None:
    """Set the keys of a configuration to what a student was trained with.

    Args:
        parser: the configuration; keys that it does not have are passed over.
        model: the student's file. One that does not say (an official one, or an older one) changes nothing.
        given: keys, or places in them (``network_def#channels``), that were asked for by the user.

    Raises:
        ValueError: if what was asked for is not what the student was trained with, or the file names a network of no
            known package.
    """
    settings = read_settings(model)
    if not settings:
        _logger.warning("%s does not say what it was trained with: the configuration's own settings are used", model)
        return
    wanted = [place for place in given if place.split("#")[0] not in _CHOICES]
    problems = [*_contradictions(parser, settings, wanted, model), *_strangers(parser, settings, model)]
    if problems:
        raise ValueError("; ".join(problems))
    asked = {key for place in given for key in _CHOICES.get(place, [])}
    taken = {key: value for key, value in settings.items() if key in parser and key not in asked}
    for key, value in taken.items():
        if resolved(parser, key) != value:
            _logger.info("%s: %s, with which %s was trained", key, value, model)
    change(parser, taken)


def _contradictions(
    parser: ConfigParser, settings: Mapping[str, Any], places: Collection[str], model: str | Path
) -> Iterator[str]:
    for place in (place for place in places if place.split("#")[0] in settings):
        trained: Any = settings
        for part in place.split("#"):
            trained = trained[int(part)] if isinstance(trained, list) else trained.get(part)
        found = resolved(parser, place)
        if found != trained:
            yield f"--{place}: expected {trained}, with which {model} was trained, found {found}"


def _strangers(parser: ConfigParser, settings: Mapping[str, Any], model: str | Path) -> Iterator[str]:
    """A file of weights is data: it may not name just any function to call."""
    for key, value in settings.items():
        own = set(_targets(parser.get(key)))
        for target in _targets(value):
            known = target.startswith(_NETWORKS) or "." not in target  # MONAI looks for plain names in itself
            if not known and target not in own:
                yield (
                    f"{model}: expected a network of {' or '.join(_NETWORKS)}*, found {target}; if you trust it, write it "
                    f"into {key} of the configuration"
                )


def _targets(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield str(value["_target_"])
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _targets(one)
