"""What may leave the machine: a configuration without the places of images, which may hold names and identifiers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["without_cases"]


def without_cases(config: Any) -> Any:
    """A configuration with numbers instead of cases.

    Args:
        config: nested mappings and lists. In a list of mappings with ``image`` the n-th one's values become ``case n``;
            ``dataset_dir`` is left out.
    """
    if isinstance(config, Mapping):
        return {key: without_cases(value) for key, value in config.items() if key != "dataset_dir"}
    if not isinstance(config, list):
        return config
    return [
        dict.fromkeys(item, f"case {number}") if isinstance(item, Mapping) and "image" in item else without_cases(item)
        for number, item in enumerate(config, 1)
    ]
