"""The main job in minutes: phantoms, a short ladder, its table, the student, and a picture of what it does."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["run_demo"]

# Enough training for the order of the rungs to show on two CPU cores; real trainings take the defaults of train.yaml.
_DEMOS: dict[str, dict[str, Any]] = {
    "confkd": {
        "bundle": "confkd_cardiac_mri_segmentation",
        "settings": {
            "max_epochs": 12,
            "epoch_length": 15,
            "val_interval": 4,
            "patch_size": [64, 64],
            "num_workers": 0,
            "learning_rate": 0.002,
        },
        "best_rung": "kl_entropy",
    }
}


def run_demo(method: str = "confkd", *, bundles: str | Path = "bundles", output_dir: str | Path = "demo") -> None:
    """Make phantoms, run the demo's ladder on them, apply the student to a held-out volume, and say where all that is.

    Args:
        method: the method to show.
        bundles: folder of the bundles.
        output_dir: folder to make or to go on in.
    """
    from medkd.ladder import load_ladder, render, run_ladder

    demo, root, started = _DEMOS[method], Path(output_dir).resolve(), time.monotonic()
    bundle, data = Path(bundles).resolve() / demo["bundle"], root / "data"
    if not (data / "datalist.json").is_file():
        _make_phantoms(data)
    ladder = load_ladder(bundle, ["demo"])
    scores = run_ladder(ladder, root / "ladder", dataset_dir=data, overrides=demo["settings"])
    student = root / "ladder" / demo["best_rung"] / "seed0" / "models" / "model.pt"
    picture = _apply(bundle, student, data, root, demo["settings"]["patch_size"])
    print(f"\n{render(ladder, scores)}\n")
    print(f"Student:   {student}")
    print(f"Picture:   {picture}")
    print(f"Plot:      {root / 'ladder' / 'ladder.png'}")
    print(
        f"MLflow UI: {Path(sys.executable).parent / 'mlflow'} ui --backend-store-uri sqlite:///{root / 'ladder' / 'mlruns.db'}"
    )
    print("           then open http://127.0.0.1:5000, Model training (the ladder's run holds its rungs as children)")
    print(f"Done in {time.monotonic() - started:.0f} s.")


def _make_phantoms(folder: Path) -> None:
    from medkd.datasets import make_cardiac_phantoms

    print(f"Making phantoms in {folder} …")
    make_cardiac_phantoms(folder)


def _apply(bundle: Path, student: Path, data: Path, root: Path, patch_size: list[int]) -> Path:
    """Run the bundle's inference, as a user would, on the first test volume; draw what comes out."""
    import nibabel as nib
    import numpy as np

    from medkd.datasets import load_datalist
    from medkd.visualise import save_overlay

    case = load_datalist(data, "test")[0]
    out = root / "predictions"
    command = [
        *(sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.yaml"),
        *("--dataset_dir", case["image"], "--output_dir", str(out), "--model_path", str(student)),
        *("--patch_size", str(patch_size)),
    ]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"inference failed:\n{done.stderr[-2000:]}")
    name = Path(case["image"]).name.removesuffix(".nii.gz")
    paths = {"label": case["label"], "student": out / f"{name}_seg.nii.gz"}
    masks = {title: np.asarray(nib.nifti1.load(path).dataobj) for title, path in paths.items()}
    picture = root / "overlay.png"
    save_overlay(picture, {name: (np.asarray(nib.nifti1.load(case["image"]).dataobj), masks)})
    return picture
