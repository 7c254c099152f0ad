"""A program that is watched while it runs."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

__all__ = ["Watched", "watch"]

_INTERVAL = 0.02  # seconds


@dataclass(frozen=True)
class Watched:
    """What a program has taken.

    Attributes:
        printed: on standard output.
        seconds: from its start to its end.
        memory: resident memory of it and its children, in MiB, at times in seconds from its start.
    """

    printed: str
    seconds: float
    memory: Sequence[tuple[float, float]]

    @property
    def peak(self) -> float:
        """The largest memory, in MiB."""
        return max((memory for _, memory in self.memory), default=0.0)

    def area(self, until: float) -> float:
        """Under the curve of memory over time up to a time, in MiB·s, as FLARE's challenges count it."""
        times = [0.0, *(min(when, until) for when, _ in self.memory)]
        return sum(memory * (now - last) for (_, memory), last, now in zip(self.memory, times, times[1:], strict=False))


def watch(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Watched:
    """Run a program and sample the memory of its processes fifty times per second.

    Raises:
        RuntimeError: if it fails, with the end of what it said.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started, memory = time.perf_counter(), []
        process = subprocess.Popen(
            command, stdout=out, stderr=err, env=None if environment is None else dict(environment)
        )
        try:
            while process.poll() is None:
                memory.append((time.perf_counter() - started, _resident(process.pid)))
                time.sleep(_INTERVAL)
        finally:
            process.kill()
            process.wait()
        seconds = time.perf_counter() - started
        for stream in (out, err):
            stream.seek(0)
        if process.returncode:
            raise RuntimeError(
                f"{' '.join(command)}: expected success, found exit {process.returncode}:\n{err.read()[-2000:]}"
            )
        return Watched(out.read(), seconds, memory)


def _resident(pid: int) -> float:
    """Of a process and those below it, in MiB; they may end meanwhile."""
    total = 0
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total / 2**20
