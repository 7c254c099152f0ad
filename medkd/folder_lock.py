"""One training at a time in a folder."""

from __future__ import annotations

from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

__all__ = ["lock", "unlock"]

_held: dict[Path, BaseFileLock] = {}  # by this process; the system takes them away when it ends, however it does


def lock(folder: str | Path) -> None:
    """Hold a folder, which is made if it is not there, until ``unlock``, or until the process ends; again is no error.

    Raises:
        RuntimeError: if another process holds it.
    """
    path = Path(folder).resolve() / ".lock"
    if path in _held:  # also after a training of this process that failed
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    taken = FileLock(path, blocking=False)
    try:
        taken.acquire()
    except Timeout:
        raise RuntimeError(f"{folder}: expected no other training there, found one that runs") from None
    _held[path] = taken


def unlock(folder: str | Path) -> None:
    """Let others have it; nothing happens if it is not held."""
    taken = _held.pop(Path(folder).resolve() / ".lock", None)
    if taken is not None:
        taken.release()
