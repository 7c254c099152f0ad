"""Kinds of values that a request may have, each with its name in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["MAPPING", "PAIR", "SWITCH", "WORDS", "Kind", "is_numbers", "like", "or_none", "or_several", "text", "whole"]


@dataclass(frozen=True)
class Kind:
    """Of a value: what it should be, in words, and whether it is."""

    expected: str
    fits: Callable[[Any], bool]


def is_numbers(value: Any, count: int | None = None) -> bool:
    """Whether it is a sequence of so many numbers."""
    right = isinstance(value, (list, tuple)) and (count is None or len(value) == count)
    return right and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)


def text(pattern: str, expected: str) -> Kind:
    """A text that a regular expression describes whole."""
    found = re.compile(pattern)
    return Kind(expected, lambda value: isinstance(value, str) and bool(found.fullmatch(value)))


def whole(low: int, high: int) -> Kind:
    """A whole number in a range, its ends included."""
    return Kind(
        f"a whole number from {low} to {high}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
    )


def or_none(kind: Kind) -> Kind:
    """Of a kind, or ``None``."""
    return Kind(f"{kind.expected}, or nothing", lambda value: value is None or kind.fits(value))


def or_several(kind: Kind) -> Kind:
    """Of a kind, or a list: viewers send back a whole list of options, and the server takes the first."""
    return Kind(
        f"{kind.expected}, or a list of it",
        lambda value: all(map(kind.fits, value)) if isinstance(value, list) else kind.fits(value),
    )


SWITCH = Kind("true or false", lambda value: isinstance(value, bool))
WORDS = text(r".{0,1000}", "a text")
PAIR = Kind("two numbers", lambda value: is_numbers(value, 2))
MAPPING = Kind("a mapping", lambda value: isinstance(value, Mapping))


def like(default: Any) -> Kind:
    """As an option that a bundle offers with this default."""
    if isinstance(default, list):
        return Kind(f"one of {default}", lambda value: value in default or value == default)
    if isinstance(default, bool):
        return SWITCH
    if isinstance(default, (int, float)):
        return Kind("a number", lambda value: is_numbers([value]))
    return WORDS
