"""Where the time of a training step goes, on the CPU: one training of each bundle on phantoms of its recipe's size, with its teacher.

The teacher has random weights: what it costs does not depend on them. No worker processes, so that what the data cost is seen too.

    python benchmarks/breakdown.py [confkd kdas ikdmil compact] [--steps 20]
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.engines.utils import IterationEvents
from throughput import CASES
from trainings import BUNDLES, METHODS, begun, known, on_phantoms

PARTS = ["data", "augmentation", "student", "teacher", "loss", "backward", "optimizer", "rest"]
_TAUGHT = {"kdas": {"alpha": 0.3}, "compact": {"pixel_weight": 1.0}}
# What ends with each event; without what was timed inside of it.
_ENDS = {
    Events.GET_BATCH_COMPLETED: "data",
    IterationEvents.FORWARD_COMPLETED: "student",
    IterationEvents.LOSS_COMPLETED: "loss",
    IterationEvents.BACKWARD_COMPLETED: "backward",
    IterationEvents.MODEL_COMPLETED: "optimizer",
    Events.ITERATION_COMPLETED: "rest",
}


class Parts:
    """Seconds of every step, by part."""

    def __init__(self, trainer: Any) -> None:
        self.steps: list[dict[str, float]] = []
        self._now: dict[str, float] = defaultdict(float)
        self._last = self._inside = 0.0
        trainer.add_event_handler(Events.GET_BATCH_STARTED, self._begin)
        for event, part in _ENDS.items():
            trainer.add_event_handler(event, self._end, part)
        if trainer.augmentation is not None:
            trainer.augmentation = self._timed("augmentation", trainer.augmentation)
        if trainer.teacher is not None:
            trainer._guide = self._timed("teacher", trainer._guide)

    def _begin(self, engine: Engine) -> None:
        self._now, self._last, self._inside = defaultdict(float), time.perf_counter(), 0.0

    def _end(self, engine: Engine, part: str) -> None:
        now = time.perf_counter()
        self._now[part] += now - self._last - self._inside
        self._last, self._inside = now, 0.0
        if part == "rest":
            self.steps.append(dict(self._now))

    def _timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            begin = time.perf_counter()
            made = call(*arguments)
            took = time.perf_counter() - begin
            self._now[part] += took
            self._inside += took
            return made

        return timed


def with_teacher(method: str, folder: Path) -> dict[str, Any]:
    """Settings with which a network beside the student teaches, if the method has one; its weights are random."""
    if method not in _TAUGHT:
        return {}
    configs, parser = BUNDLES / METHODS[method] / "configs", ConfigParser()
    parser.read_config(
        [str(configs / "train.yaml"), *(str(configs / "recipes" / f"{r}.yaml") for r in CASES[method][0])]
    )
    torch.save({"model": parser.get_parsed_content("teacher_def").state_dict()}, folder / "teacher.pt")
    return {**_TAUGHT[method], "teacher_path": str(folder / "teacher.pt")}


def measure(method: str, steps: int) -> str:
    """A row of the table: medians over the steps but the first."""
    recipes, phantoms, own = CASES[method]
    with tempfile.TemporaryDirectory() as made:
        found = on_phantoms(method, Path(made) / "data", **phantoms)
        settings = {**own, **with_teacher(method, Path(made)), "dataset_dir": found["dataset_dir"], "num_workers": 0}
        settings |= {"max_epochs": 1, "epoch_length": steps, "val_interval": 0}
        workflow = begun(method, Path(made) / "run", settings, recipes=recipes)
        parts = Parts(workflow.parser.get_parsed_content("train#trainer"))
        workflow.run()
    shown = {part: statistics.median(step.get(part, 0.0) for step in parts.steps[1:]) for part in PARTS}
    total = sum(shown.values())
    return f"| {method} | {total:.3f} | " + " | ".join(f"{100 * shown[part] / total:.0f}" for part in PARTS) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", default=list(CASES), type=known)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    print(f"| bundle | s per step | {' %, | '.join(PARTS)} % |\n|{'---|' * (2 + len(PARTS))}")
    for method in options.methods:
        print(measure(method, options.steps), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
