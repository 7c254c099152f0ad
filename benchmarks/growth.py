"""How a training grows with its data: the time until its first step, seconds per step, and memory, at 1, 4 and 16 times the images.

Every training is a process of its own, of two epochs: with all images kept in memory, and with as many as the smallest has. Phantoms of
the recipe's size; no worker processes, so that all memory is in one.

    python benchmarks/growth.py [confkd kdas ikdmil compact] [--steps 20]
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from ignite.engine import Events
from throughput import CASES, Clock
from trainings import begun, known, on_phantoms

TIMES = (1, 4, 16)
# The training images of the smallest: volumes, frames, or tiles.
BASE = {
    "confkd": {"strong": 4, "weak": 8},
    "kdas": {"training": 48},
    "ikdmil": {"training": 64},
    "compact": {"strong": 12, "weak": 0},
}


def train(method: str, folder: Path, settings: dict[str, Any]) -> tuple[float, float, float]:
    """One training, in this process: seconds until its first step and of a step, and the most memory in MiB."""
    started = time.perf_counter()
    workflow = begun(method, folder, settings, recipes=CASES[method][0])
    trainer = workflow.parser.get_parsed_content("train#trainer")
    clock, begin, memory = Clock(trainer), [], []
    trainer.add_event_handler(Events.STARTED, lambda: begin.append(time.perf_counter() - started))
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: memory.append(psutil.Process().memory_info().rss / 2**20)
    )
    workflow.run()
    return begin[0], clock.per_step()[-1], max(memory)


def measure(method: str, steps: int) -> list[str]:
    """The rows of a bundle."""
    own = {"max_epochs": 2, "epoch_length": steps, "val_interval": 0, "num_workers": 0, **CASES[method][2]}
    rows = []
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["throughput"])  # which has imported MONAI: that is no part of a training's start
    alone = ProcessPoolExecutor(1, mp_context=server, max_tasks_per_child=1)
    with tempfile.TemporaryDirectory() as made, alone:
        for times in TIMES:
            counted = {part: count * times for part, count in BASE[method].items()}
            found = on_phantoms(method, Path(made) / f"{times}", **{**CASES[method][1], **counted})
            kept = {key: value for key, value in found.items() if key in {"dataset_dir", "alpha", "pixel_weight"}}
            cells = [f"{method}", f"{times}", f"{sum(counted.values())}"]
            for rate in (1.0, 1 / times):
                folder = Path(made) / f"{times}-{rate}"
                start, step, memory = alone.submit(train, method, folder, {**kept, **own, "cache_rate": rate}).result()
                cells += [f"{start:.1f}", f"{step:.3f}", f"{memory:.0f}"]
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", default=list(BASE), type=known)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    columns = "start, s | s per step | MiB"
    print(f"| bundle | times | images | {columns} | limited: {columns} |")
    print(f"|{'---|' * 9}")
    for method in options.methods:
        print("\n".join(measure(method, options.steps)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
