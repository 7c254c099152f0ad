"""Overrides of ``train.yaml`` as text, for all rungs of a ladder or for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import yaml
from monai.bundle import ConfigParser

from medkd.bundle.command_line import unknown_keys
from medkd.ladder.plan import Ladder

__all__ = ["overridden", "yaml_value"]


def overridden(ladder: Ladder, pairs: Sequence[str]) -> tuple[Ladder, dict[str, Any]]:
    """The ladder with the overrides of single rungs (``RUNG:KEY=VALUE``), and those of all (``KEY=VALUE``).

    Overrides of rungs that the bundle has but that are not to be run are left out.

    Raises:
        ValueError: with every pair that is malformed or names a key that ``train.yaml`` lacks.
    """
    known = ConfigParser.load_config_file(ladder.bundle / "configs" / "ladder.yaml")["rungs"]
    problems = [f"expected KEY=VALUE, got {pair!r}" for pair in pairs if "=" not in pair]
    shared: dict[str, Any] = {}
    rungs = {rung: dict(own) for rung, own in ladder.rungs.items()}
    for key, _, value in (pair.partition("=") for pair in pairs):
        rung, _, own = key.partition(":")
        place = rungs.setdefault(rung, {}) if rung in known else shared
        place[own if rung in known else key] = yaml_value(value)
    keys = [key for chosen in (shared, *rungs.values()) for key in chosen]
    problems = problems or unknown_keys(dict.fromkeys(keys), ladder.known_keys())
    if problems:
        raise ValueError(f"--set: {'; '.join(problems)} ({ladder.files[0]})")
    return replace(ladder, rungs={rung: rungs[rung] for rung in ladder.rungs}), shared


def yaml_value(text: str) -> Any:
    """A value of the command line: YAML, which takes ``1e-3`` for a string, because it has no point."""
    value = yaml.safe_load(text)
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
