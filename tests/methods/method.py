"""What the suite has to be told of a method; every bundle that medkd ships has a file here, named as its method is."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medkd.bundle import bundle_names

from ..cases import Case

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Demo:
    """``medkd demo`` in a test's time."""

    short: list[str]  # overrides
    order: list[str]  # of rungs whose difference is many times that between seeds, the worst first
    student: str  # the rung that is shown
    least: float  # its score


@dataclass(frozen=True)
class Method:
    """How small its bundle can be, and what is particular to it."""

    kind: str  # of its images in a server: heart, polyp or tissue
    small: Settings  # keys of inference.yaml and train.yaml
    training: Settings  # keys of train.yaml alone
    phantoms: Callable[[Path], Any]  # makes validation data of a few images
    case: Callable[[Path], Case]  # makes data and a teacher
    terms: list[str]  # of the loss, which a training in the server logs
    demo: Demo
    alone: Settings = field(default_factory=dict)  # overrides of a training without a teacher
    sources: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)  # by the names that its pages give them
    ladder: Settings | None = None  # parts of ladder.yaml that are enough for its pages


def methods() -> dict[str, Method]:
    """By the names of their bundles."""
    return {name: _found(name.partition("_")[0]) for name in bundle_names()}


def _found(method: str) -> Method:
    module = importlib.import_module(f"{__package__}.{method}")
    found: Method = module.METHOD
    return found
