"""The configuration of the bundle that runs, for what a configuration's own expressions call."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medkd.bundle.plain import OTHER

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

__all__ = ["change", "running_parser", "settings_in_use"]

_SEP = "::"  # as MONAI has it inside
_NO_SETTINGS = ("_meta_", "imports", "initialize", "run", "finalize")


def running_parser() -> ConfigParser:
    """The parser that evaluates the expression which calls this.

    MONAI gives an expression no access to the configuration it stands in, but its parser is on the stack.

    Raises:
        RuntimeError: where no configuration is being evaluated.
    """
    from monai.bundle import ConfigParser

    frame = inspect.currentframe()
    while frame is not None:
        parser = frame.f_locals.get("self")
        if isinstance(parser, ConfigParser):
            return parser
        frame = frame.f_back
    raise RuntimeError("expected to be called by an expression of a bundle's configuration, found none on the stack")


def change(parser: ConfigParser, values: Mapping[str, Any]) -> None:
    """Set keys of a configuration, also from within one of its expressions: what is evaluated afterwards sees them.

    What has been evaluated before is forgotten and will be made anew: call it in ``initialize``, or first in ``run``.
    """
    parser.update(dict(values))
    parser.parse()  # an expression that is being evaluated marks the configuration as resolved when it ends


def settings_in_use() -> dict[str, Any]:
    """The settings at the top level of the configuration that runs, as the values that it runs with.

    References and expressions stand for what has been made of them; what is no plain data, or was not needed, is left out,
    and so are the sections (``train``, ``validate``), which say how things are put together.

    Raises:
        RuntimeError: where no configuration is being evaluated.
    """
    parser = running_parser()
    made = parser.ref_resolver.resolved_content
    config: Any = parser.config
    config = {key: value for key, value in config.items() if key not in _NO_SETTINGS and not _is_section(value)}
    found: dict[str, Any] = _in_use(config, made, "")
    return found


def _is_section(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" not in value


def _in_use(value: Any, made: Mapping[str, Any], place: str) -> Any:
    """``OTHER`` for what is no plain data."""
    if isinstance(value, Mapping):
        parts = {key: _in_use(one, made, f"{place}{_SEP}{key}" if place else key) for key, one in value.items()}
        return {key: part for key, part in parts.items() if part is not OTHER}
    if isinstance(value, list):
        items = [_in_use(one, made, f"{place}{_SEP}{number}") for number, one in enumerate(value)]
        return OTHER if any(item is OTHER for item in items) else items
    if isinstance(value, str) and value[:1] in ("$", "@", "%"):
        referred = value[1:].replace("#", _SEP) if value[0] == "@" else place
        value = made.get(place, made.get(referred, OTHER))
    return value if _is_plain(value) else OTHER


def _is_plain(value: Any) -> bool:
    return (
        all(map(_is_plain, value))
        if isinstance(value, list)
        else isinstance(value, (bool, int, float, str, type(None)))
    )
