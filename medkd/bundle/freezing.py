"""The settings of a student, written into the files of its bundle: other tools of MONAI read nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from medkd.bundle.metadata import with_settings
from medkd.bundle.plain import resolved
from medkd.files import atomic_path
from medkd.networks.checkpoints import read_settings

__all__ = ["freeze", "unfrozen"]


def freeze(bundle: str | Path) -> list[Path]:
    """Write what ``models/model.pt`` was trained with into ``configs/*.yaml`` and ``metadata.json``.

    Top-level keys that a file has get the student's value; comments, order and everything else stay. A configuration
    that is read behind ``train.yaml`` (``evaluate.yaml``), and so has no ``imports``, stays as it is.

    Returns:
        The files that were changed.

    Raises:
        FileNotFoundError: if there is no student.
        ValueError: if its file is none, or a configuration cannot be read; nothing is written then.
    """
    changed = _changes(Path(bundle))
    for path, text in changed.items():
        with atomic_path(path) as partial:
            partial.write_text(text, encoding="utf-8")
    return list(changed)


def unfrozen(bundle: str | Path) -> list[Path]:
    """The files that ``freeze`` would change; errors are the same."""
    return list(_changes(Path(bundle)))


def _changes(bundle: Path) -> dict[Path, str]:
    """New texts of the files that would change."""
    configs = bundle / "configs"
    settings = read_settings(bundle / "models" / "model.pt")
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(configs.glob("*.yaml"))}
    changed = {path: _with_values(path, text, settings) for path, text in texts.items()}
    metadata = configs / "metadata.json"
    if metadata.is_file():
        texts[metadata] = metadata.read_text(encoding="utf-8")
        before = json.loads(texts[metadata])
        after = with_settings(before, settings)
        changed[metadata] = texts[metadata] if after == before else json.dumps(after, indent=2) + "\n"
    return {path: text for path, text in changed.items() if text != texts[path]}


def _with_values(path: Path, text: str, settings: Mapping[str, Any]) -> str:
    """The file's text with other values of the keys that say something else."""
    try:
        root, content = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: expected YAML, found something else: {error}") from error
    if not isinstance(root, yaml.MappingNode) or "imports" not in content:
        return text
    other = _other_values(content, settings)
    for key, value in reversed(root.value):  # from the end, so that places before it stay what they are
        if key.value in other:
            text = f"{text[: key.end_mark.index]}: {_flow(other[key.value])}{text[_end(text, value) :]}"
    return text


def _other_values(content: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of the settings those that a configuration does not come to by itself, once it has the plain ones."""
    from monai.bundle import ConfigParser

    parser, other = ConfigParser(content), {}
    for key in sorted(
        settings, key=lambda key: (isinstance(settings[key], Mapping), isinstance(content.get(key), str))
    ):
        if key in parser and resolved(parser, key) != settings[key]:
            other[key] = settings[key]
            parser.update({key: settings[key]})
    return other


def _end(text: str, node: yaml.Node) -> int:
    """Where a value ends: what follows a block, comments of the next key and empty lines, is none of it."""
    lines = text[node.start_mark.index : node.end_mark.index].splitlines(keepends=True)
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    return node.start_mark.index + len("".join(lines).rstrip())


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=2**20, allow_unicode=True)
    return text.removesuffix("\n...\n").strip()
