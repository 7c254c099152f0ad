"""Two ways of doing the same, compared in one run: times step by step in turns, peak memory in processes of their own."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Step = Callable[[], Any]
WARM_UP = 3  # rounds that are not counted


def in_turns(steps: Sequence[Step], rounds: int) -> list[list[float]]:
    """Seconds of every step in every round; the order is reversed in every other round."""
    times: list[list[float]] = [[] for _ in steps]
    for number in range(rounds + WARM_UP):
        order = range(len(steps)) if number % 2 else reversed(range(len(steps)))
        for which in order:
            started = time.perf_counter()
            steps[which]()
            times[which].append(time.perf_counter() - started)
    return [column[WARM_UP:] for column in times]


def ratio(first: Step, second: Step, rounds: int) -> tuple[float, float, float]:
    """Median seconds of both, and the median of the paired ratios."""
    one, two = in_turns([first, second], rounds)
    return (
        statistics.median(one),
        statistics.median(two),
        statistics.median(a / b for a, b in zip(one, two, strict=True)),
    )


def peak_memory(work: Callable[..., Any], *arguments: Any) -> int:
    """Largest resident set, in KiB, of a new process that does this (Linux); ``work`` is a function of a module."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_measured, args=(queue, work, arguments))
    process.start()
    value: int = queue.get()
    process.join()
    return value


def _measured(queue: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    work(*arguments)
    # getrusage would count the parent's memory too: Linux keeps its high-water mark over fork and exec.
    status = Path("/proc/self/status").read_text()
    queue.put(int(status.split("VmHWM:")[1].split()[0]))
