"""How much memory a process may still take: what the machine has left, and what a container's limit leaves."""

from __future__ import annotations

from pathlib import Path

__all__ = ["available_memory"]

_CGROUPS = {  # limit, usage, and what is used for file caches, which give way
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def available_memory(root: str | Path = "/") -> int | None:
    """Bytes; ``None`` on systems that do not say (others than Linux).

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    known = [_machine(Path(root) / "proc" / "meminfo")]
    known += [_container(Path(root) / "sys" / "fs" / "cgroup" / folder, *files) for folder, files in _CGROUPS.items()]
    return min((value for value in known if value is not None), default=None)


def _machine(meminfo: Path) -> int | None:
    found = _table(meminfo).get("MemAvailable:")  # in KiB
    return None if found is None else found * 1024


def _container(folder: Path, limit: str, usage: str, cached: str) -> int | None:
    """What the limit leaves; there is none on most machines, or one beyond all memory."""
    most, used = _number(folder / limit), _number(folder / usage)
    if most is None or used is None:
        return None
    return max(0, most - used + _table(folder / "memory.stat").get(cached, 0))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # "max", or no such file
        return None


def _table(path: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    try:
        lines = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdigit()}
