"""The configuration of the bundle that runs, for what a configuration's own expressions call."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

__all__ = ["change", "running_parser"]


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
