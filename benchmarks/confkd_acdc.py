"""The ladder of docs/methods/confkd.md on ACDC, in two regimes of weak labels; stopped, it goes on when called again.

    python benchmarks/confkd_acdc.py ACDC OUT --budget cpu    # half resolution, 600 steps: about 3 h on 2 cores
    python benchmarks/confkd_acdc.py ACDC OUT --budget gpu    # the authors' setting: 256², 600 epochs, one GPU

Regimes: ``seeds`` annotates 3 % of the pixels inside each structure and no background (the authors'), ``scribbles``
annotates background too. 3 strongly labelled patients, 3 seeds. Give ``--regime`` to run one of them, for example to
run both beside each other.
"""

import argparse
import subprocess
import sys
from pathlib import Path

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "confkd_cardiac_mri_segmentation"
WEAK = {"seeds": "random", "scribbles": "scribble"}
# The weak labels do not enter these two rungs: they are trained once, with the seeds.
ONCE = ["strong_only", "full_supervision"]
RUNGS = ["weak_only", "strong_only", "one_branch", "decoupled", "kl", "kl_entropy", "full_supervision"]
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
    options = parser.parse_args()
    for regime in options.regime:
        data = Path(options.output) / f"data-{regime}"
        if not data.exists():
            prepare = ["data", "acdc", options.acdc, str(data), "--weak", WEAK[regime], "--validation", "5"]
            subprocess.run([sys.executable, "-m", "medkd.cli", *prepare], check=True)
        rungs = [rung for rung in RUNGS if regime == "seeds" or rung not in ONCE]
        command = ["ladder", str(BUNDLE), "--dataset_dir", str(data), "--seeds", *options.seeds, "--rungs", *rungs]
        place = Path(options.output) / f"{options.budget}-{regime}"
        command += ["--output_dir", str(place), "--set", *BUDGETS[options.budget]]
        subprocess.run([sys.executable, "-m", "medkd.cli", *command], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
