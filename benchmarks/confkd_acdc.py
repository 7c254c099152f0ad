"""The ladder of docs/methods/confkd.md on ACDC, in two regimes of weak labels; stopped, it goes on when called again.

    python benchmarks/confkd_acdc.py ACDC OUT --budget cpu    # half resolution, 600 steps: about 3 h on 2 cores
    python benchmarks/confkd_acdc.py ACDC OUT --budget gpu    # the authors' setting: 256², 600 epochs, one GPU
    python benchmarks/confkd_acdc.py ACDC OUT --variants      # the settings among which train.yaml's were chosen, 1 seed

Regimes: ``seeds`` annotates 3 % of the pixels inside each structure and no background (the authors'), ``scribbles``
annotates background too. 3 strongly labelled patients, 3 seeds. Give ``--regime`` to run one of them, for example to
run both beside each other.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "confkd_cardiac_mri_segmentation"
WEAK = {"seeds": "random", "scribbles": "scribble"}
# The weak labels do not enter these two rungs: they are trained once, with the seeds.
ONCE = ["strong_only", "full_supervision"]
RUNGS = ["weak_only", "strong_only", "one_branch", "decoupled", "kl", "kl_entropy", "full_supervision"]
VARIANTS = {
    "default": [],
    "pce_0.1": ["pce_weight=0.1"],
    "pce_0.6": ["pce_weight=0.6"],
    "kl_0.5": ["kl_weight=0.5"],
    "kl_3_pce_0.1": ["kl_weight=3.0", "pce_weight=0.1"],
    "dense_student": ["student_sees=label", "pce_weight=1.0"],
    "dense_student_kl_weak": ["student_sees=label", "pce_weight=1.0", "kl_on=weak"],
}
BUDGETS = {
    "cpu": [
        "pixdim=[2,2,-1]",
        "patch_size=[64,64]",
        "max_epochs=12",
        "epoch_length=50",
        "val_interval=6",
        "num_workers=0",
    ],
    "gpu": [
        *("patch_size=[256,256]", "max_epochs=600", "val_interval=20", "num_workers=8", "learning_rate=0.0001"),
        *("volumes_per_batch=12", "slices_per_volume=4", "network_def#channels=[64,128,256,512,1024]"),
    ],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("acdc")
    parser.add_argument("output")
    parser.add_argument("--budget", choices=BUDGETS, default="cpu")
    parser.add_argument("--regime", choices=WEAK, nargs="+", default=list(WEAK))
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    parser.add_argument(
        "--variants", action="store_true", help="compare settings of kl_entropy, foreground seeds, 1 seed"
    )
    options = parser.parse_args()
    output, settings = Path(options.output), BUDGETS[options.budget]
    if options.variants:
        data = prepare(options.acdc, output, "seeds")
        for name, changes in VARIANTS.items():
            place = output / f"variant-{name}"
            ladder(data, place, ["0"], ["kl_entropy"], [*settings, *changes])
            print(f"{name}: best validation Dice of the student {validation_dice(place):.3f}")
        return 0
    for regime in options.regime:
        rungs = [rung for rung in RUNGS if regime == "seeds" or rung not in ONCE]
        place = output / f"{options.budget}-{regime}"
        ladder(prepare(options.acdc, output, regime), place, options.seeds, rungs, settings)
    return 0


def prepare(acdc: str, output: Path, regime: str) -> Path:
    """The prepared dataset of a regime, made if it is not there yet."""
    data = output / f"data-{regime}"
    if not data.exists():
        medkd("data", "acdc", acdc, str(data), "--weak", WEAK[regime], "--validation", "5")
    return data


def ladder(data: Path, place: Path, seeds: list[str], rungs: list[str], settings: list[str]) -> None:
    """Run the rungs, or go on with them."""
    where = ("--dataset_dir", str(data), "--output_dir", str(place))
    medkd("ladder", str(BUNDLE), *where, "--seeds", *seeds, "--rungs", *rungs, "--set", *settings)


def validation_dice(place: Path) -> float:
    """What settings are chosen by: never the test patients, whom the ladder's table scores."""
    client = MlflowClient(tracking_uri=f"sqlite:///{(place / 'mlruns.db').resolve()}")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    trained = [run.info.run_id for run in runs if run.info.run_name.startswith("kl_entropy-")]
    return max(point.value for run_id in trained for point in client.get_metric_history(run_id, "val/mean_dice"))


def medkd(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "medkd.cli", *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
