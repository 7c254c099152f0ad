"""The ladder of docs/methods/ikdmil.md on GlaS ("contains gland"), for both MIL teachers; stopped, it goes on when called again.

    python benchmarks/ikdmil_glas.py GLAS OUT --budget cpu                   # 48², from scratch: hours on 2 cores
    python benchmarks/ikdmil_glas.py GLAS OUT --budget gpu --weights FILE    # 256², the authors' schedule, one GPU

GLAS is the folder of images, masks and grade.csv. FILE is torchvision's vgg16_bn-*.pth; without it both networks start from
random weights. ``--teachers gm`` or ``--teachers dice`` runs one half, for example both halves beside each other.
"""

import argparse
import subprocess
import sys
from pathlib import Path

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "ikdmil_histology_segmentation"
TEACHERS = {"gm": "medkd.losses.GeneralizedMeanLoss", "dice": "medkd.losses.BagDiceLoss"}
BUDGETS = {  # maps are smoothed by 3 pixels of a tile of 128, whatever it is shrunk to
    "cpu": [
        *("image_size=[48,48]", "num_workers=0", "learning_rate=1e-3", "epoch_length=50", "val_interval=2"),
        *("teacher_epochs=6", "max_epochs=6", "smoothing=1.125"),
    ],
    "gpu": [
        *("image_size=[256,256]", "num_workers=8", "learning_rate=5e-5", "val_interval=5"),
        *("teacher_epochs=31", "max_epochs=469", "smoothing=6"),
        *(f"{rung}:switch_epochs={list(range(29, 450, 30))}" for rung in ("role_switch", "released")),
    ],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("glas")
    parser.add_argument("output")
    parser.add_argument("--budget", choices=BUDGETS, default="cpu")
    parser.add_argument("--teachers", choices=TEACHERS, nargs="+", default=list(TEACHERS))
    parser.add_argument("--weights", default=None, help="torchvision's ImageNet weights of VGG16 with BatchNorm")
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    parser.add_argument("--rungs", nargs="+", default=[])
    options = parser.parse_args()
    output, settings = Path(options.output).resolve(), ["class_names=[gland]", *BUDGETS[options.budget]]
    if options.weights:
        settings.append(f"network_def#pretrained={Path(options.weights).resolve()}")
    data = output / "data"
    if not data.exists():
        medkd("data", "glas", options.glas, str(data))
    chosen = ("--rungs", *options.rungs) if options.rungs else ()
    for teacher in options.teachers:
        where = ("--dataset_dir", str(data), "--output_dir", str(output / f"{options.budget}-{teacher}"))
        loss = f"bag_loss={{_target_: {TEACHERS[teacher]}}}"
        medkd("ladder", str(BUNDLE), *where, "--seeds", *options.seeds, *chosen, "--set", *settings, loss)
    return 0


def medkd(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "medkd.cli", *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
