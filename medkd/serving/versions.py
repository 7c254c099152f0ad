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

from medkd.files import atomic_path

__all__ = ["decide", "last_decision", "next_version", "serve", "served", "served_before"]

_DECISION = "promotion.json"


def served(place: Path) -> Path:
    """The version that ``place``, ``APP/model/NAME``, leads to.

    Raises:
        FileNotFoundError: if nothing was deployed there.
    """
    if not place.is_symlink():
        raise FileNotFoundError(f"{place}: expected a deployed bundle, found none")
    return place.parent / place.readlink()


def served_before(place: Path) -> Path:
    """The version before the present one that was served.

    Raises:
        FileNotFoundError: if there is none.
    """
    present = served(place)
    earlier = [v for v in _versions(place) if v.name < present.name and _decision(v).get("promoted", True)]
    if not earlier:
        raise FileNotFoundError(f"{place}: expected a version before {present.name}, found none")
    return earlier[-1]


def next_version(place: Path) -> Path:
    """The folder of the version to come."""
    latest = max((int(v.name) for v in _versions(place)), default=0)
    return _folder(place) / f"{latest + 1:04d}"


def serve(place: Path, version: Path) -> None:
    """Replace the link in one step; it is relative, so that the app may be moved."""
    fresh = place.with_name(f".{os.getpid()}-{place.name}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(version, place.parent), target_is_directory=True)
    fresh.replace(place)


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
