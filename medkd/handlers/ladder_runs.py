"""What the runs of a ladder have in common, in this process and in those that it begins: a few environment variables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["LADDER_TAGS", "ladder_dir", "parent_name", "said_away", "say_away", "tell_parent", "within_ladder"]

LADDER_TAGS = {"medkd.kind": "ladder"}
_DIR, _AWAY = "MEDKD_OFFLINE_DIR", "MEDKD_SERVER_AWAY"
_PARENT_RUN, _PARENT_NAME = "MEDKD_PARENT_RUN", "MEDKD_PARENT_NAME"


@contextmanager
def within_ladder(folder: Path) -> Iterator[None]:
    """Runs that begin from now on have one local store, in the ladder's folder, and wait for a lost server once."""
    os.environ[_DIR] = str(folder)
    try:
        yield
    finally:
        for name in (_DIR, _AWAY, _PARENT_RUN, _PARENT_NAME):
            os.environ.pop(name, None)


def tell_parent(run_id: str, name: str) -> None:
    """Runs that begin from now on are children of this one."""
    os.environ[_PARENT_RUN], os.environ[_PARENT_NAME] = run_id, name


def parent_name(run_id: str) -> str | None:
    """The name of the ladder's run, if this is its identifier; another store has it under another one."""
    return os.environ.get(_PARENT_NAME) if run_id == os.environ.get(_PARENT_RUN) else None


def ladder_dir() -> str | None:
    """The folder of the ladder that this run belongs to."""
    return os.environ.get(_DIR)


def say_away(server: str) -> None:
    """Within a ladder, no other run waits for this server; runs of processes that run already find out by themselves."""
    if _DIR in os.environ:
        os.environ[_AWAY] = server


def said_away(server: str) -> bool:
    """Whether another run of the ladder could not reach this server."""
    return os.environ.get(_AWAY) == server
