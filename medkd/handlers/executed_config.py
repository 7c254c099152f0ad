"""The configuration of a run as MLflow is to have it: settings as parameters, the whole as one file."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Param

from medkd.bundle.running import settings_in_use
from medkd.files import atomic_path
from medkd.handlers.anonymous import without_cases

__all__ = ["ExecutedConfig", "flatten"]

_SKIPPED = ("_meta_", "imports", "initialize", "run", "finalize")
_LONGEST_NAME, _LONGEST_VALUE = 250, 500


@dataclass(frozen=True)
class ExecutedConfig:
    """What MONAI wrote down before the run.

    Attributes:
        source: the file, JSON; ``None``, or none that is there: the run has no configuration.
        anonymous: neither paths of images nor ``dataset_dir`` leave the machine (``without_cases``).
    """

    source: str | None
    anonymous: bool = False

    def parameters(self, known: Collection[str]) -> list[Param]:
        """The settings in use, outside a configuration those of the file; without those that are known."""
        try:
            settings = self._cleared(settings_in_use())
        except RuntimeError:
            settings = self._content()
        flat = {key: value for key, value in flatten(settings) if key.split(".")[0] not in _SKIPPED}
        return [
            Param(key[:_LONGEST_NAME], str(value)[:_LONGEST_VALUE]) for key, value in flat.items() if key not in known
        ]

    def leave(self, client: Any, run_id: str, name: str) -> None:
        """Log the whole as ``NAME.json``, whatever MONAI calls the file, so that a run that goes on has one."""
        content = self._content()
        if content:
            path = Path(str(self.source)).with_name(f"{name}.json")
            with atomic_path(path) as partial:
                partial.write_text(json.dumps(content, indent=2), encoding="utf-8")
            client.log_artifact(run_id, str(path))

    def _content(self) -> dict[str, Any]:
        if not (self.source and Path(self.source).is_file()):
            return {}
        return self._cleared(json.loads(Path(self.source).read_text(encoding="utf-8")))

    def _cleared(self, config: dict[str, Any]) -> dict[str, Any]:
        cleared: dict[str, Any] = without_cases(config) if self.anonymous else config
        return cleared


def flatten(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings and lists, keys joined by points; short lists of numbers count as leaves."""
    if isinstance(config, Mapping):
        children = list(config.items())
    elif isinstance(config, list) and any(isinstance(value, (Mapping, list)) for value in config):
        children = list(enumerate(config))
    else:
        yield prefix, config
        return
    for key, value in children:
        yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
