"""The overrides of ``python -m monai.bundle run``: keys that there are, and values of the types that they have."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

__all__ = ["given_keys", "is_bundle_run", "overrides", "typed", "unknown_keys"]

# Arguments of `monai.bundle run` itself; everything else that starts with a dash overrides the configuration.
_RUN_ARGUMENTS = {
    "run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file", "workflow_name",
    "workflow_type", "properties_path",
}  # fmt: skip
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NONE = {"null", "none", "~"}
_AUTO = "auto"  # in place of what is found unless it is given, of any type
_ABSENT = "$"  # an argument that the configuration leaves at its default: of any type, as an expression is


def is_bundle_run(arguments: Sequence[str]) -> bool:
    """Whether this is the command line of ``python -m monai.bundle run``, ``sys.argv`` of that program."""
    return bool(arguments) and "monai" in Path(arguments[0]).parts and "run" in arguments[1:3]


def given_keys(arguments: Sequence[str]) -> list[str]:
    """The keys that a command line of ``python -m monai.bundle run`` sets; none of another program."""
    if not is_bundle_run(arguments):
        return []
    return [key.replace("::", "#") for key in _asked(arguments) if key not in _RUN_ARGUMENTS]


def overrides(arguments: Sequence[str], given: Any) -> dict[str, Any]:
    """The overrides of a command line, each of the type that its key has in the configuration files.

    Args:
        arguments: ``sys.argv`` of ``python -m monai.bundle run``.
        given: what MONAI made of the overrides, by key: a ``ConfigParser``, or a mapping.

    Raises:
        ValueError: with every key that no file has, and every value that is of another type.
    """
    from monai.bundle import ConfigParser

    options = _asked(arguments)
    named = options.get("config_file", "")
    files = named if isinstance(named, list) else [part.strip(" '\"") for part in str(named).strip("[]").split(",")]
    if not files[0]:
        return {}
    config = ConfigParser.load_config_files(files)
    config = {**_tracking_settings(options.get("tracking", "")), **config}
    keys = [key for key in options if key not in _RUN_ARGUMENTS]
    problems, values = unknown_keys(keys, config), {}
    defaults = ConfigParser(config)
    for key in keys if not problems else []:
        try:
            values[key] = typed(given[key], defaults.get(key, _ABSENT))
        except ValueError as error:  # noqa: PERF203 - all problems are told at once
            problems.append(f"--{key}: {error}")
    if problems:
        raise ValueError(f"{', '.join(files)}: " + "; ".join(problems))
    return values


def typed(value: Any, default: Any) -> Any:
    """An override as the type that its key has: MONAI passes ``--resume false`` on as the (true) string ``"false"``.

    Words for true, false and nothing are those of YAML. Where the file has an expression or nothing, its type is not
    known: such words become what they mean, everything else stays.

    Args:
        value: of the command line, as MONAI gives it.
        default: of the file.

    Raises:
        ValueError: if it is no such value, with what was expected and what was found.
    """
    if _is_expression(value):
        return value
    if isinstance(default, bool):
        return _switch(value)
    if isinstance(default, (int, float)):
        return _number(value, default)
    if isinstance(default, (list, dict)):
        return _container(value, default)
    if isinstance(default, str) and default != _AUTO and not _is_expression(default):
        return str(value) if isinstance(value, (int, float)) else value  # a folder may be called 2024
    word = value.lower() if isinstance(value, str) else ""
    return None if word in _NONE else _WORDS.get(word, value)


def _is_expression(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("$", "@", "%"))


def _switch(value: Any) -> bool:
    found = _WORDS.get(value.lower(), value) if isinstance(value, str) else value
    if str(found) in {"0", "1"}:
        found = str(found) == "1"
    if not isinstance(found, bool):
        raise ValueError(f"expected true or false, found {value!r}")
    return found


def _number(value: Any, default: float) -> float:
    try:
        found = float("true" if isinstance(value, bool) else value)
    except (TypeError, ValueError):
        raise ValueError(f"expected a number such as {default}, found {value!r}") from None
    if not math.isfinite(found):
        raise ValueError(f"expected a number such as {default}, found {value!r}")
    return int(found) if isinstance(default, int) and found.is_integer() else found


def _container(value: Any, default: Any) -> Any:
    try:
        found = yaml.safe_load(value) if isinstance(value, str) else list(value) if isinstance(value, tuple) else value
    except yaml.YAMLError:
        found = value
    if not isinstance(found, type(default)):
        kind = f"a list such as {default}" if isinstance(default, list) else "a mapping"
        raise ValueError(f"expected {kind}, found {value!r}")
    return found


def _tracking_settings(tracking: str) -> dict[str, Any]:
    """The keys that MONAI adds to the configuration from ``--tracking``: a file's, or its own."""
    from monai.bundle import ConfigParser
    from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS

    if not tracking:
        return {}
    settings: Any = DEFAULT_EXP_MGMT_SETTINGS.get(tracking) or ConfigParser.load_config_file(tracking)
    return dict(settings["configs"])


def unknown_keys(keys: Iterable[str], config: Any) -> list[str]:
    """A sentence for every override that the configuration has no place for.

    Args:
        keys: ids in MONAI's form, ``"max_epochs"``, ``"train#trainer#amp"`` or ``"train::trainer::amp"``.
        config: the loaded configuration.
    """
    problems = []
    for key in keys:
        place, parts = config, key.replace("::", "#").split("#")
        for depth, part in enumerate(parts):
            last = depth == len(parts) - 1
            if isinstance(place, list) and part.isdigit() and int(part) < len(place):
                place = place[int(part)]
            elif isinstance(place, dict) and part in place:
                place = place[part]
            elif last and isinstance(place, dict) and "_target_" in place:
                break  # an argument that the component has but the configuration leaves at its default
            else:
                known = list(place) if isinstance(place, dict) else []
                near = difflib.get_close_matches(part, known, n=1)
                problems.append(f"unknown key {key!r}" + (f", did you mean {near[0]!r}?" if near else ""))
                break
    return problems


def _asked(arguments: Sequence[str]) -> dict[str, Any]:
    """What a command line asks for, by key, and the file that it names in ``--args_file``, over which it has precedence."""
    from monai.bundle import ConfigParser

    options: dict[str, Any] = dict(_options(arguments[1:]))
    file = options.get("args_file")
    return {**ConfigParser.load_config_file(file), **options} if file else options


def _options(arguments: Sequence[str]) -> Iterable[tuple[str, str]]:
    """``--key value`` and ``--key=value`` pairs, as fire reads them: one dash does, and ``--max-epochs`` is ``max_epochs``."""
    for position, argument in enumerate(arguments):
        if re.match("--|-[a-zA-Z]", argument):
            key, _, value = argument.lstrip("-").partition("=")
            following = arguments[position + 1] if position + 1 < len(arguments) else ""
            yield key.replace("-", "_"), value or following
