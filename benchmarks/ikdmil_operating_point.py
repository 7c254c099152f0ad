"""The ladder of ikdmil_glas.py again, every student at a threshold that negative validation tiles set.

    python benchmarks/ikdmil_operating_point.py DATA LADDER OUT --image_size 48 48 --seeds 0 1 2

DATA and LADDER are the folders that ikdmil_glas.py left. A map's level depends on the loss it was trained with, and
one fixed threshold compares that before anything else. Here each student has the threshold at which 5 % of the pixels of
negative validation tiles are foreground: a ladder that was trained before thresholds were calibrated in training has none.
OUT gets the ladder's tables.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from monai.bundle import ConfigParser

from medkd.handlers import TileScores
from medkd.ladder import Ladder, load_ladder, render
from medkd.ladder.table import cell_dir, collect, write_tables
from medkd.networks import load_model

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "ikdmil_histology_segmentation"


def evaluate(model: Path, data: Path, section: str, size: list[int], handlers: list[Any], threshold: Any) -> Any:
    """Run the bundle's evaluation of one section; the engine."""
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / name) for name in ("train.yaml", "evaluate.yaml")])
    parser.update({"bundle_root": str(BUNDLE), "dataset_dir": str(data), "split": section, "image_size": size})
    parser.update({"class_names": ["gland"], "validate#handlers": [], "num_workers": 0, "progress": False})
    parser.update({"threshold": threshold})
    load_model(model, parser.get_parsed_content("network"))
    evaluator = parser.get_parsed_content("validate#evaluator")
    for handler in handlers:
        handler.attach(evaluator)
    evaluator.run()
    return evaluator


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
            found = evaluate(model, options.data, "validation", options.image_size, [], "auto")
            threshold = found.state.metrics["threshold"]
            branch = full.branch_of(rung)
            scores = TileScores(str(cell / "eval"), threshold=threshold, hausdorff=False, branch=branch)
            (cell / "eval").mkdir(parents=True, exist_ok=True)
            (cell / "eval" / "threshold.txt").write_text(f"{threshold:.6f}\n")
            evaluate(model, options.data, "test", options.image_size, [scores], threshold)
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
