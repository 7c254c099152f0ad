"""What tracking costs: trainings of a bundle on phantoms with and without `--tracking`, in turns, in one process.

A step's time, and what an epoch takes beside its steps (validation, pictures, saves, MLflow), as medians over all epochs but each
training's first; and how large the store is that a training leaves.

    python benchmarks/tracking.py [confkd|kdas|ikdmil|compact] [--rounds 3] [--epochs 4] [--steps 20]
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ignite.engine import Events
from trainings import METHODS, begun, on_phantoms


class Clock:
    """Seconds of every step, and of what else its epoch took."""

    def __init__(self, trainer: Any) -> None:
        self.steps: list[float] = []
        self.rests: list[float] = []
        trainer.add_event_handler(Events.ITERATION_STARTED, self._start)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._stop)
        trainer.add_event_handler(Events.EPOCH_STARTED, self._epoch)
        self._trainer, self._begun = trainer, 0.0
        self._epochs: list[tuple[float, int]] = []

    def _start(self) -> None:
        self._begun = time.perf_counter()

    def _stop(self) -> None:
        self.steps.append(time.perf_counter() - self._begun)

    def _epoch(self) -> None:
        self._epochs.append((time.perf_counter(), len(self.steps)))

    def finish(self) -> None:
        """Called behind the training."""
        ends = [*self._epochs[1:], (time.perf_counter(), len(self.steps))]
        for (started, first), (ended, last) in list(zip(self._epochs, ends, strict=True))[1:]:
            self.rests.append(ended - started - sum(self.steps[first:last]))
        del self.steps[: self._epochs[1][1]]


def train(method: str, folder: Path, settings: dict[str, Any], tracked: bool) -> Clock:
    """One training."""
    workflow = begun(method, folder, settings, tracked=tracked)
    clock = Clock(workflow.parser.get_parsed_content("train#trainer"))
    workflow.run()
    clock.finish()
    return clock


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", nargs="?", default="confkd", choices=sorted(METHODS))
    for name, value in (("rounds", 3), ("epochs", 4), ("steps", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    length = {"max_epochs": options.epochs, "epoch_length": options.steps, "val_interval": 1}
    with tempfile.TemporaryDirectory() as made:
        settings = {**on_phantoms(options.method, Path(made) / "data"), **length}
        clocks: dict[bool, list[Clock]] = {False: [], True: []}
        for number in range(2 * options.rounds):
            tracked = number % 2 == 0
            folder = Path(made) / str(number)
            clocks[tracked].append(train(options.method, folder, settings, tracked))
        stored = sum(path.stat().st_size for path in (Path(made) / "0" / "eval").rglob("*") if "mlruns" in str(path))
    report(options.method, clocks, stored, options.epochs)
    return 0


def report(method: str, clocks: dict[bool, list[Clock]], stored: int, epochs: int) -> None:
    """A row of the table."""
    step, rest = (
        {
            tracked: statistics.median([value for clock in kept for value in getattr(clock, what)])
            for tracked, kept in clocks.items()
        }
        for what in ("steps", "rests")
    )
    print(
        "| method | s per step | with tracking | rest of an epoch, s | with tracking | store of a run of "
        f"{epochs} epochs, MB |"
    )
    print("|---|---|---|---|---|---|")
    share = 100 * (step[True] / step[False] - 1)
    print(
        f"| {method} | {step[False]:.3f} | {share:+.1f} % | {rest[False]:.2f} | {rest[True] - rest[False]:+.2f} s | {stored / 1e6:.2f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
