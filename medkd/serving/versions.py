"""Versions of a deployed bundle, one of which is served.

``APP/model/NAME`` is a link to ``APP/model/.versions/NAME/0001``, ``0002``, …: a link is replaced in one step, so that
there is a whole bundle at any moment, and the versions before it stay. A retrained student is a version too; its
``promotion.json`` says whether it was taken, and why.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medkd.files import atomic_path, partial_path

__all__ = ["decide", "last_decision", "next_version", "serve", "served", "take_back"]

_DECISION = "promotion.json"
_HISTORY = "served.json"  # names of versions in the order in which they were served


def served(place: Path) -> Path:
    """The version that ``place``, ``APP/model/NAME``, leads to.

    Raises:
        FileNotFoundError: if nothing was deployed there.
    """
    if not place.is_symlink():
        raise FileNotFoundError(f"{place}: expected a deployed bundle, found none")
    return place.parent / place.readlink()


def take_back(place: Path) -> Path:
    """Serve the version again that was served before the present one, which stays on disk; return it.

    Raises:
        FileNotFoundError: if there is none.
    """
    present, folder = served(place).name, _folder(place)
    history = _history(place)
    before = [name for name in history[: _last(history, present)] if (folder / name).is_dir()]
    if not before:
        raise FileNotFoundError(f"{place}: expected a version before {present}, found none")
    _serve(place, folder / before[-1], before)
    return folder / before[-1]


def next_version(place: Path) -> Path:
    """The folder of the version to come."""
    latest = max((int(v.name) for v in _versions(place)), default=0)
    return _folder(place) / f"{latest + 1:04d}"


def serve(place: Path, version: Path) -> None:
    """Replace the link in one step; it is relative, so that the app may be moved."""
    history = []
    if place.is_symlink():
        history = _history(place)
        history = history[: _last(history, served(place).name) + 1]  # the rest was written down and not served
    _serve(place, version, history if history[-1:] == [version.name] else [*history, version.name])


def _serve(place: Path, version: Path, history: list[str]) -> None:
    with atomic_path(_folder(place) / _HISTORY) as partial:
        partial.write_text(json.dumps(history) + "\n", encoding="utf-8")
    fresh = partial_path(place)
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(version, place.parent), target_is_directory=True)
    fresh.replace(place)


def _history(place: Path) -> list[str]:
    """Where none was written down every version that was not refused, in their order."""
    path = _folder(place) / _HISTORY
    if path.is_file():
        return [str(name) for name in json.loads(path.read_text(encoding="utf-8"))]
    return [v.name for v in _versions(place) if _decision(v).get("promoted", True)]


def _last(history: list[str], name: str) -> int:
    """The place of a name's last occurrence; behind the end where there is none."""
    return max((place for place, one in enumerate(history) if one == name), default=len(history))


def decide(version: Path, decision: Mapping[str, Any]) -> None:
    """Write down whether a retrained version is served (``promoted``), and why."""
    with atomic_path(version / _DECISION) as partial:
        partial.write_text(json.dumps(dict(decision), indent=2) + "\n", encoding="utf-8")


def last_decision(place: Path) -> dict[str, Any]:
    """On the latest retrained version, with its name as ``version``; empty where none was retrained."""
    decisions = [{"version": v.name, **_decision(v)} for v in _versions(place) if _decision(v)]
    return decisions[-1] if decisions else {}


def _decision(version: Path) -> dict[str, Any]:
    path = version / _DECISION
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content


def _folder(place: Path) -> Path:
    return place.parent / ".versions" / place.name


def _versions(place: Path) -> list[Path]:
    """Whole ones: a copy in the making has another name."""
    return sorted(_folder(place).glob("[0-9][0-9][0-9][0-9]"))
