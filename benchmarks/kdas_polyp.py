"""The ladder of docs/methods/kdas.md on Kvasir-SEG and CVC-ClinicDB; stopped, it goes on when called again.

    python benchmarks/kdas_polyp.py POLYP OUT --budget cpu             # 96², from scratch: hours on 2 cores
    python benchmarks/kdas_polyp.py POLYP OUT --budget gpu --weights DIR   # 352², all scales, b2 to b0, one GPU
    python benchmarks/kdas_polyp.py POLYP OUT --variants               # weights of the terms, 1 seed

POLYP is the folder of TrainDataset and TestDataset. DIR holds the official pvt_v2_b0.pth and pvt_v2_b2.pth; without
``--weights`` both networks start from random weights. Seeds may be run in processes beside each other: each with an OUT of
its own, and ``--data`` naming one prepared folder for all. Put their folders RUNG/seedN together and call the whole again,
with the same ``--data``, for the tables.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundles" / "kdas_polyp_segmentation"
MEASURES = ["meanDic", "meanIoU", "wFm", "Sm", "meanEm", "mae", "dice", "iou"]
BUDGETS = {
    "cpu": [
        *("image_size=[96,96]", "scales=[1.0]", "num_workers=0", "teacher_def#backbone=resnet18"),
        *("learning_rate=1e-3", "epoch_length=50", "max_epochs=20", "val_interval=5", "teacher:max_epochs=30"),
    ],
    "gpu": ["num_workers=8", "max_epochs=99", "val_interval=3"],
}
VARIANTS = {
    "alone": ["alpha=0"],
    "default": [],
    "authors": ["attention_weight=1.0", "symmetric_weight=1.0"],
    "attention_0.1_symmetric_0.03": ["attention_weight=0.1", "symmetric_weight=0.03"],
    "attention_0.03_symmetric_0.03": ["attention_weight=0.03", "symmetric_weight=0.03"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("polyp")
    parser.add_argument("output")
    parser.add_argument("--budget", choices=BUDGETS, default="cpu")
    parser.add_argument("--data", default=None, help="output of `medkd data polyp` (default: OUT/data, made if absent)")
    parser.add_argument("--weights", default=None, help="folder of the official ImageNet weights")
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    parser.add_argument("--rungs", nargs="+", default=None)
    parser.add_argument("--variants", action="store_true", help="compare weights of the terms, first seed")
    options = parser.parse_args()
    output, settings = Path(options.output).resolve(), list(BUDGETS[options.budget])
    if options.weights:
        for key, backbone in (("network_def", "b0"), ("teacher_def", "b2")):
            settings.append(f"{key}#pretrained={Path(options.weights).resolve() / f'pvt_v2_{backbone}.pth'}")
    data = Path(options.data or output / "data").resolve()
    if not data.exists():
        medkd("data", "polyp", options.polyp, str(data), "--sequences", "clinicdb")
    place = output / options.budget
    if options.variants:
        variants(data, output / "variants", options.seeds[0], settings)
        return 0
    ladder(data, place, options.seeds, options.rungs, settings)
    print(measures(place).round(3).to_string())
    return 0


def ladder(data: Path, place: Path, seeds: list[str], rungs: list[str] | None, settings: list[str]) -> None:
    """Run the rungs, or go on with them."""
    chosen = ("--rungs", *rungs) if rungs else ()
    where = ("--dataset_dir", str(data), "--output_dir", str(place))
    medkd("ladder", str(BUNDLE), *where, "--seeds", *seeds, *chosen, "--set", *settings)


def variants(data: Path, place: Path, seed: str, settings: list[str]) -> None:
    """One teacher, and a student per variant; the validation Dice is the one to choose by."""
    ladder(data, place / "teacher", [seed], ["teacher"], settings)
    teacher = place / "teacher" / "teacher" / f"seed{seed}" / "models" / "model.pt"
    for name, changes in VARIANTS.items():
        own = [f"kdas:{change}" for change in (f"teacher_path={teacher}", *changes)]
        ladder(data, place / name, [seed], ["kdas"], settings + own)
        log = (place / name / "kdas" / f"seed{seed}" / "log.txt").read_text().split("val_mean_dice best value: ")
        print(f"{name}: best validation Dice {max(float(part.split()[0]) for part in log[1:]):.3f}")


def measures(place: Path) -> pd.DataFrame:
    """The field's measures, means over the seeds, per rung and test set."""
    files = sorted(place.glob("*/seed*/eval/summary.csv"))
    parts = [pd.read_csv(path).assign(rung=path.parts[-4]) for path in files]
    means: pd.DataFrame = pd.concat(parts).groupby(["dataset", "rung"])[MEASURES].mean()
    return means


def medkd(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "medkd.cli", *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
