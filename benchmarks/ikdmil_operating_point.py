"""The ladder of ikdmil_glas.py again, every student at a threshold that negative validation tiles set.

    python benchmarks/ikdmil_operating_point.py DATA LADDER OUT --image_size 48 48 --seeds 0 1 2

DATA and LADDER are the folders that ikdmil_glas.py left. A map's level depends on the loss it was trained with, and
one fixed threshold compares that before anything else. Here the threshold of each student is the one above which 5 % of the
pixels of negative validation tiles lie: image-level labels suffice for that. OUT gets the ladder's tables.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ignite.engine import Events
from monai.bundle import ConfigParser

from medkd.handlers import TileScores
from medkd.ladder import Ladder, load_ladder, render
from medkd.ladder.table import cell_dir, collect, write_tables
from medkd.networks import load_model

FALSE_POSITIVES = 0.05
BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "ikdmil_histology_segmentation"


class Negatives:
    """The maps of negative tiles."""

    def __init__(self) -> None:
        self.pixels: list[np.ndarray[Any, Any]] = []

    def attach(self, engine: Any) -> None:
        """Register with an evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        """Collect."""
        for item in engine.state.output:
            if float(item["label"]) == 0:
                self.pixels.append(item["pred"][0].numpy().ravel()[::7])

    @property
    def threshold(self) -> float:
        """The level above which the share of their pixels lies."""
        return float(np.quantile(np.concatenate(self.pixels), 1 - FALSE_POSITIVES))


def evaluate(model: Path, data: Path, section: str, size: list[int], handler: Any) -> None:
    """Run the bundle's evaluation of one section with one handler."""
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / name) for name in ("train.yaml", "evaluate.yaml")])
    parser.update({"bundle_root": str(BUNDLE), "dataset_dir": str(data), "split": section, "image_size": size})
    parser.update({"class_names": ["gland"], "validate#handlers": [], "num_workers": 0, "progress": False})
    load_model(model, parser.get_parsed_content("network"))
    evaluator = parser.get_parsed_content("validate#evaluator")
    handler.attach(evaluator)
    evaluator.run()


def cells(ladder: Ladder, root: Path, seeds: list[int]) -> list[tuple[str, int]]:
    """Rungs and seeds with a student."""
    found = [(rung, seed) for rung in ladder.rungs for seed in seeds]
    return [(rung, seed) for rung, seed in found if (cell_dir(root, rung, seed) / "models" / "model.pt").is_file()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("ladder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--image_size", type=int, nargs=2, default=[48, 48])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rungs", nargs="+", default=None)
    options = parser.parse_args()
    full, thresholds = load_ladder(BUNDLE, options.rungs), []
    done = cells(full, options.ladder, options.seeds)
    for rung, seed in done:
        cell, model = cell_dir(options.output, rung, seed), cell_dir(options.ladder, rung, seed) / "models" / "model.pt"
        if not (cell / "eval" / "regions.csv").is_file():
            negatives = Negatives()
            evaluate(model, options.data, "validation", options.image_size, negatives)
            scores = TileScores(str(cell / "eval"), threshold=negatives.threshold, hausdorff=False)
            (cell / "eval").mkdir(parents=True, exist_ok=True)
            (cell / "eval" / "threshold.txt").write_text(f"{negatives.threshold:.4f}\n")
            evaluate(model, options.data, "test", options.image_size, scores)
        thresholds.append((rung, seed, float((cell / "eval" / "threshold.txt").read_text())))
        print(*thresholds[-1], flush=True)
    ladder = load_ladder(BUNDLE, list(dict.fromkeys(rung for rung, _ in done)))
    scores = collect(ladder, options.output, sorted({seed for _, seed in done}))
    write_tables(ladder, scores, options.output)
    pd.DataFrame(thresholds, columns=["rung", "seed", "threshold"]).to_csv(
        options.output / "thresholds.csv", index=False
    )
    print(render(ladder, scores))
    return 0


if __name__ == "__main__":
    sys.exit(main())
