"""Two ways of doing the same, compared in one run: times step by step in turns, peak memory in processes of their own."""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Step = Callable[[], Any]
WARM_UP = 3  # rounds that are not counted
MEMORY_STEPS = 3


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


def compare_steps(
    explanation: str,
    ours: Callable[[int, int], Step],
    released: Callable[[int, int], Step],
    *,
    size: int,
    batch: int,
    time_limit: float,
    memory_limit: float = 1.0,
) -> int:
    """The command of a benchmark of two training steps, functions of a module that make one for ``size`` and ``batch``.

    Returns:
        The exit status: 1 if a ratio (ours to released) is above its limit.
    """
    import torch

    parser = argparse.ArgumentParser(description=explanation)
    for name, value in (("rounds", 8), ("size", size), ("batch", batch)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    shape = (options.size, options.batch)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.batch} images of {options.size}²")
    one, two, faster = ratio(ours(*shape), released(*shape), options.rounds)
    print(f"ours {one:.2f} s, released {two:.2f} s, time ratio {faster:.3f} (limit {time_limit})")
    memories = [peak_memory(_few_steps, make, *shape) / 2**10 for make in (ours, released)]
    smaller = memories[0] / memories[1]
    print(f"ours {memories[0]:.0f} MiB, released {memories[1]:.0f} MiB, peak memory ratio {smaller:.3f}", end=" ")
    print(f"(limit {memory_limit})")
    return int(faster > time_limit or smaller > memory_limit)


def _few_steps(make: Callable[[int, int], Step], size: int, batch: int) -> None:
    step = make(size, batch)
    for _ in range(MEMORY_STEPS):
        step()


def _measured(queue: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    work(*arguments)
    # getrusage would count the parent's memory too: Linux keeps its high-water mark over fork and exec.
    status = Path("/proc/self/status").read_text()
    queue.put(int(status.split("VmHWM:")[1].split()[0]))
