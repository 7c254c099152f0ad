"""How much of a training's time its data take: images per second, over those of the same steps on batches in memory.

Trainings of a bundle on phantoms of the recipe's size, in turns, in one process: with the batches of the first epoch again and
again, with the data read and augmented by the process itself, and by two workers. Seconds from step to step, without the first of an epoch.

    python benchmarks/throughput.py [confkd kdas ikdmil compact] [--rounds 3] [--epochs 3] [--steps 20]
"""

import argparse
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from trainings import begun, known, on_phantoms

# Of each bundle: the recipe, phantoms as large as its images, and settings beside.
CASES: dict[str, tuple[list[str], dict[str, int], dict[str, Any]]] = {
    "confkd": (["cpu"], {"size": 224, "slices": 10}, {}),
    "kdas": (["cpu"], {"size": 352, "training": 80, "unlabelled": 0}, {}),
    "ikdmil": (["cpu"], {"size": 256}, {"teacher_epochs": 1}),
    "compact": ([], {"size": 224, "slices": 10}, {"patch_size": [128, 128]}),
}
WAYS = {"in memory": 0, "0 workers": 0, "2 workers": 2}


class Clock:
    """Seconds from step to step of every epoch, and how many images a step has."""

    def __init__(self, trainer: Engine) -> None:
        self.epochs: list[list[float]] = []
        self.images = 0
        self._last = 0.0
        trainer.add_event_handler(Events.EPOCH_STARTED, lambda: self.epochs.append([]))
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._step)

    def _step(self, engine: Engine) -> None:
        now = time.perf_counter()
        self.epochs[-1].append(now - self._last)
        self._last, self.images = now, len(engine.state.batch["image"])

    def per_step(self) -> list[float]:
        """Means of the epochs but the first."""
        return [statistics.mean(steps[1:]) for steps in self.epochs[1:]]


def train(method: str, folder: Path, settings: dict[str, Any], way: str, steps: int) -> Clock:
    """One training."""
    recipes = CASES[method][0]
    workflow = begun(method, folder, {**settings, "num_workers": WAYS[way]}, recipes=recipes)
    trainer = workflow.parser.get_parsed_content("train#trainer")
    if way == "in memory":
        trainer.data_loader = list(islice(iter(trainer.data_loader), steps))
        trainer.augmentation = None  # of whole batches: it belongs to the data as well
    clock = Clock(trainer)
    workflow.run()
    return clock


def measure(method: str, rounds: int, epochs: int, steps: int) -> str:
    """A row of the table."""
    length = {"max_epochs": epochs, "epoch_length": steps, "val_interval": 0}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as made:
        found = on_phantoms(method, Path(made) / "data", **CASES[method][1])
        kept = {key: value for key, value in found.items() if key in {"dataset_dir", "alpha", "pixel_weight"}}
        settings = {**kept, **CASES[method][2], **length}
        for number in range(rounds):
            for way in list(WAYS)[:: 1 if number % 2 else -1]:
                clock = train(method, Path(made) / f"{number}-{way}", settings, way, steps)
                seconds[way] += clock.per_step()
    step = {way: statistics.median(values) for way, values in seconds.items()}
    shares = " | ".join(f"{step['in memory'] / step[way]:.2f}" for way in list(WAYS)[1:])
    return (
        f"| {method} | {clock.images} | {step['in memory']:.3f} | {clock.images / step['in memory']:.1f} | {shares} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", default=list(CASES), type=known)
    for name, value in (("rounds", 3), ("epochs", 3), ("steps", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    print("| method | images per step | s per step in memory | images per second | 0 workers | 2 workers |")
    print("|---|---|---|---|---|---|")
    for method in options.methods:
        print(measure(method, options.rounds, options.epochs, options.steps), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
