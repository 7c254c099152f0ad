"""What a configuration says, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

__all__ = ["OTHER", "resolved"]

OTHER = object()  # what is no plain data


def resolved(parser: ConfigParser, place: str) -> Any:
    """What stands there, references resolved and components described; ``OTHER`` where that is no plain data.

    ``None`` where there is no such place.
    """
    from monai.bundle import ConfigParser

    fresh = ConfigParser(parser.config, globals=parser.globals)  # nothing of it stays in the configuration that runs
    try:
        return _plain(fresh.get_parsed_content(place, instantiate=False))
    except TypeError:
        return OTHER
    except KeyError:
        return None


def _plain(value: Any) -> Any:
    from monai.bundle import ConfigComponent

    if isinstance(value, ConfigComponent):
        value = value.config
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"expected numbers, words and lists of them, found {value!r}")
