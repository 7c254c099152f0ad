"""Names of runs, and the check of what was asked for on the command line."""

from __future__ import annotations

import difflib
import os
import sys
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from medkd.files import atomic_path

__all__ = ["check_command_line", "chosen", "existing", "is_true", "run_name", "unknown_keys"]

# Arguments of `monai.bundle run` itself; everything else that starts with -- overrides the configuration.
_RUN_ARGUMENTS = {
    "run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file", "workflow_name",
    "workflow_type", "properties_path",
}  # fmt: skip


def run_name(state_dir: str, *, prefix: str, resume: bool = False) -> str:
    """A unique name, kept beside the training's state so that a resumed training goes on in its own MLflow run.

    Args:
        state_dir: folder of the training state.
        prefix: start of the name, e.g. the method.
        resume: give the name kept there, if there is one.
    """
    kept = Path(state_dir) / "run_name.txt"
    if resume and kept.is_file():
        return kept.read_text(encoding="utf-8").strip()
    name = f"{prefix}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    if int(os.environ.get("RANK", "0")) == 0:  # the other processes of a training do not track it
        with atomic_path(kept) as partial:
            partial.write_text(name + "\n", encoding="utf-8")
    return name


def existing(path: str) -> str | None:
    """The path, if there is a file."""
    return path if Path(path).is_file() else None


def is_true(value: Any) -> bool:
    """A switch as the command line gives it: MONAI passes ``--resume false`` on as the (true) string ``"false"``.

    Raises:
        ValueError: for a string that is neither.
    """
    if not isinstance(value, str):
        return bool(value)
    if value.lower() not in {"true", "false", "1", "0", "yes", "no"}:
        raise ValueError(f'expected "true" or "false", got {value!r}')
    return value.lower() in {"true", "1", "yes"}


def chosen(key: str, word: str, /, **options: Any) -> Any:
    """What a word stands for.

    Args:
        key: of the configuration, whose value the word is.
        word: one of the options.
        options: what each word stands for.

    Raises:
        ValueError: for another word.
    """
    if word not in options:
        raise ValueError(f"{key}: expected one of {', '.join(options)}, found {word!r}")
    return options[word]


def check_command_line(arguments: Sequence[str] | None = None) -> None:
    """Refuse a misspelt override of ``python -m monai.bundle run``, which MONAI would silently ignore.

    Args:
        arguments: the command line; ``sys.argv`` by default. Nothing is checked for another program.

    Raises:
        ValueError: for ``--key`` where no configuration file of the command has ``key``, with the nearest key there is.
    """
    from monai.bundle import ConfigParser

    arguments = list(sys.argv if arguments is None else arguments)
    if "monai" not in Path(arguments[0]).parts or "run" not in arguments[1:3]:
        return
    options = dict(_options(arguments[1:]))
    files = [part.strip(" '\"") for part in options.get("config_file", "").strip("[]").split(",")]
    if not files[0]:
        return
    config = ConfigParser.load_config_files(files)
    config = {**_tracking_settings(options.get("tracking", "")), **config}
    problems = unknown_keys((key for key in options if key not in _RUN_ARGUMENTS), config)
    if problems:
        raise ValueError(f"{', '.join(files)}: " + "; ".join(problems))


def _tracking_settings(tracking: str) -> dict[str, Any]:
    """The keys that MONAI adds to the configuration from ``--tracking``: a file's, or its own."""
    from monai.bundle import ConfigParser
    from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS

    if not tracking:
        return {}
    settings: Any = DEFAULT_EXP_MGMT_SETTINGS.get(tracking) or ConfigParser.load_config_file(tracking)
    return dict(settings["configs"])


def unknown_keys(keys: Iterable[str], config: Any) -> list[str]:
    """A sentence for every override that the configuration has no place for.

    Args:
        keys: ids in MONAI's form, ``"max_epochs"``, ``"train#trainer#amp"`` or ``"train::trainer::amp"``.
        config: the loaded configuration.
    """
    problems = []
    for key in keys:
        place, parts = config, key.replace("::", "#").split("#")
        for depth, part in enumerate(parts):
            last = depth == len(parts) - 1
            if isinstance(place, list) and part.isdigit() and int(part) < len(place):
                place = place[int(part)]
            elif isinstance(place, dict) and part in place:
                place = place[part]
            elif last and isinstance(place, dict) and "_target_" in place:
                break  # an argument that the component has but the configuration leaves at its default
            else:
                known = list(place) if isinstance(place, dict) else []
                near = difflib.get_close_matches(part, known, n=1)
                problems.append(f"unknown key {key!r}" + (f", did you mean {near[0]!r}?" if near else ""))
                break
    return problems


def _options(arguments: Sequence[str]) -> Iterable[tuple[str, str]]:
    """``--key value`` and ``--key=value`` pairs."""
    for position, argument in enumerate(arguments):
        if argument.startswith("--"):
            key, _, value = argument[2:].partition("=")
            following = arguments[position + 1] if position + 1 < len(arguments) else ""
            yield key, value or following
