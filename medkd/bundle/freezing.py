"""The settings of a student, written into the files of its bundle: other tools of MONAI read nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from medkd.bundle.metadata import with_settings
from medkd.bundle.plain import resolved
from medkd.bundle.settings import check_networks, settings_of
from medkd.files import atomic_path

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

__all__ = ["freeze", "unfrozen"]


def freeze(bundle: str | Path, also: Mapping[str, Any] | None = None) -> list[Path]:
    """Write what ``models/model.pt`` was trained with into ``configs/*.yaml`` and ``metadata.json``.

    Top-level keys that a file has get the student's value; comments, order and everything else stay, so does what the next
    training is to find out (``auto``) or to start from (``pretrained``). So does a file
    that is read behind another one (``evaluate.yaml``): besides training and inference only those with ``imports`` stand alone.

    Args:
        bundle: its folder.
        also: further keys with their values, ``runtime`` for example.

    Returns:
        The files that were changed.

    Raises:
        FileNotFoundError: if there is no student.
        ValueError: if its file is none, or a configuration cannot be read; nothing is written then.
    """
    changed = _changes(Path(bundle), also or {})
    for path, text in changed.items():
        with atomic_path(path) as partial:
            partial.write_text(text, encoding="utf-8")
    return list(changed)


def unfrozen(bundle: str | Path) -> list[Path]:
    """The files that ``freeze`` would change; errors are the same."""
    return list(_changes(Path(bundle), {}))


def _changes(bundle: Path, also: Mapping[str, Any]) -> dict[Path, str]:
    """New texts of the files that would change."""
    configs = bundle / "configs"
    model = bundle / "models" / "model.pt"
    settings = {**settings_of(model), **also}
    files = [
        path for path in sorted(configs.glob("*")) if path.suffix in {".yaml", ".json"} and path.stem != "metadata"
    ]
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    changed = {path: _with_values(path, text, settings, model) for path, text in texts.items()}
    metadata = configs / "metadata.json"
    if metadata.is_file():
        texts[metadata] = metadata.read_text(encoding="utf-8")
        before = json.loads(texts[metadata])
        after = with_settings(before, settings)
        changed[metadata] = texts[metadata] if after == before else json.dumps(after, indent=2) + "\n"
    return {path: text for path, text in changed.items() if text != texts[path]}


def _with_values(path: Path, text: str, settings: Mapping[str, Any], model: Path) -> str:
    """The file's text with other values of the keys that say something else."""
    try:
        root, content = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: expected YAML, found something else: {error}") from error
    if not isinstance(root, yaml.MappingNode) or not (path.stem in {"train", "inference"} or "imports" in content):
        return text
    other = _other_values(content, settings, model)
    if path.suffix == ".json":
        return json.dumps({**content, **other}, indent=2) + "\n" if other else text
    for key, value in reversed(root.value):  # from the end, so that places before it stay what they are
        if key.value in other:
            text = f"{text[: key.end_mark.index]}: {_flow(other[key.value])}{text[_end(text, value) :]}"
    return text


def _other_values(content: dict[str, Any], settings: Mapping[str, Any], model: Path) -> dict[str, Any]:
    """Of the settings those that a configuration does not come to by itself, once it has the plain ones."""
    from monai.bundle import ConfigParser

    parser, other = ConfigParser(content), {}
    check_networks(parser, settings, model)
    for key in sorted(
        settings, key=lambda key: (isinstance(settings[key], Mapping), isinstance(content.get(key), str))
    ):
        wanted = _with_start(settings[key], content.get(key))
        if key in parser and content[key] != "auto" and _says_other(parser, key, wanted):
            other[key] = wanted
            parser.update({key: wanted})
    return other


def _says_other(parser: ConfigParser, key: str, wanted: Any) -> bool:
    """Whether a key has another value; a file that refers to another one says nothing by itself."""
    try:
        return bool(resolved(parser, key) != wanted)
    except ValueError:  # MONAI's, for a reference to what is not there
        return False


def _with_start(value: Any, own: Any) -> Any:
    """A network with the weights that the file lets it start from."""
    start = own.get("pretrained") if isinstance(own, dict) and isinstance(value, Mapping) else None
    return {**value, "pretrained": start} if start else value


def _end(text: str, node: yaml.Node) -> int:
    """Where a value ends: what follows a block, comments of the next key and empty lines, is none of it."""
    lines = text[node.start_mark.index : node.end_mark.index].splitlines(keepends=True)
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    return node.start_mark.index + len("".join(lines).rstrip())


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=2**20, allow_unicode=True)
    return text.removesuffix("\n...\n").strip()
