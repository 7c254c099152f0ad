"""What can be set in a configuration: its keys, their values, and what its comments say of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

__all__ = ["Key", "settable"]

_NOT_SET = {"imports", "initialize", "run", "finalize", "network", "teacher", "student_settings"}


@dataclass(frozen=True)
class Key:
    """Something to set.

    Attributes:
        name: as on the command line, ``max_epochs`` or ``network_def#channels``.
        value: as the file has it.
        comment: behind the value, in the file.
    """

    name: str
    value: str
    comment: str


def settable(path: str | Path) -> list[Key]:
    """The plain values at the top of a YAML configuration, and the arguments of its networks (``*_def``).

    Raises:
        ValueError: if the file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: expected a configuration in YAML, found none that can be read ({error})") from error
    return list(_keys(text, root)) if isinstance(root, yaml.MappingNode) else []


def _is_block(value: yaml.Node) -> bool:
    """Whether it is a list over several lines: of handlers, of transforms."""
    return isinstance(value, yaml.SequenceNode) and value.flow_style is False


def _keys(text: str, mapping: yaml.MappingNode, prefix: str = "") -> Iterator[Key]:
    for key, value in mapping.value:
        name = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode):
            if name.endswith("_def"):
                yield from _keys(text, value, f"{name}#")
        elif name not in _NOT_SET and "#" not in key.value and not _is_block(value):
            shown = text[value.start_mark.index : value.end_mark.index].strip()
            behind = text[value.end_mark.index :].partition("\n")[0].strip()
            yield Key(name, shown, behind.removeprefix("#").strip() if behind.startswith("#") else "")
