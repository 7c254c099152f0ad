"""Folders as ladders leave them, with faults that a report has to find."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from medkd.bundle import bundle_path
from medkd.metrics.trust import reliability
from medkd.visualise import small_slice

SIDE = 40


def write_cell(folder, branch, dice, *, sure=0.9, right=0.9, pictures=True):
    """An evaluation of one network: of each patient a Dice, a volume and, where it sees foreground, a confidence and what it is worth."""
    evaluated = folder / "eval"
    evaluated.mkdir(parents=True)
    cases, trust = [], []
    for number, (patient, value) in enumerate(sorted(dice.items()), start=1):
        name = {"case": f"{patient}.png", "patient": patient, "branch": branch, "class": "polyp"}
        cases.append({**name, "dice": value, "hd95": 60 * (1 - value), "surface_dice": value, "unit": "voxels"})
        table = _table(sure, right)
        bins = {
            f"{kind}_{place}": float(one)
            for kind, row in zip(("pixels", "probability", "right"), table, strict=True)
            for place, one in enumerate(row)
        }
        volumes = {"truth_volume": 100.0, "predicted_volume": 100 + 20 * (1 - value), "overlap_volume": 100 * value}
        counts = {"islands": 1, "false_islands": int(value < 0.5), "missed_islands": 0}
        entropy = {"entropy": 0.1 * (1 - value), "entropy_inside": 1 - value}
        trust.append(
            {"number": number, "location": "", **name, "unit": "pixels", **volumes, **counts, **entropy, **bins}
        )
        if pictures:
            _write_slice(evaluated / "slices" / f"{number:04d}.npz", branch, value)
    pd.DataFrame(cases).to_csv(evaluated / "cases.csv", index=False)
    pd.DataFrame(trust).to_csv(evaluated / "trust.csv", index=False)
    return evaluated


def _table(sure, right, pixels=1000):
    """Pixels of background that nobody doubts, and a few of foreground, of which a share is right."""
    probability = np.concatenate([np.full(20 * pixels, 0.01), np.full(pixels, sure)])
    truth = np.arange(21 * pixels) >= 20 * pixels + round(pixels * (1 - right))
    return reliability(probability, truth)


def _write_slice(path, branch, value):
    truth = np.zeros((SIDE, SIDE), np.uint8)
    truth[10:20, 10:20] = 1
    found = np.roll(truth, round(10 * (1 - value)), axis=0)
    image = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    maps = {
        "truth": truth,
        f"{branch}_classes": found,
        f"{branch}_uncertainty": 200 * (found != truth).astype(np.uint8),
    }
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **small_slice(image, maps))


def plant(root: Path, *, seeds=(0, 1), seen=(), name="polyp", shared=(), bad=None, **student):
    """A ladder of Compact: a teacher, the student alone, and a student that is nearly as good as its teacher on all 12 patients.

    Args:
        root: folder to make.
        seeds: of every rung.
        seen: patients of the test that ``patients.csv`` marks.
        name: of the dataset.
        shared: patients of the test that the datalist has in training too.
        bad: the patient on which the student fails, and nobody else.
        student: ``sure`` and ``right`` of the student.
    """
    names = [f"p{number:02d}" for number in range(12)]
    rng = np.random.default_rng(1)
    base = dict(zip(names, 0.9 + 0.02 * rng.standard_normal(12), strict=True))
    data = root.parent / f"{root.name}-data"
    data.mkdir(parents=True)
    items = {"training": ["t1", "t2", *shared], "validation": ["v1"], "test": names}
    sections = {part: [{"image": f"{one}.png", "patient": one} for one in own] for part, own in items.items()}
    (data / "datalist.json").write_text(json.dumps({"name": name, **sections}))
    for rung, branch, behind in (
        ("teacher", "teacher", 0.0),
        ("student_alone", "student", 0.12),
        ("pixel", "student", 0.002),
    ):
        for seed in seeds:
            dice = {
                one: min(1.0, value - behind + 0.003 * seed + 0.01 * rng.standard_normal())
                for one, value in base.items()
            }
            if rung == "pixel" and bad:
                dice[bad] = 0.15
            write_cell(root / rung / f"seed{seed}", branch, dice, **(student if rung == "pixel" else {}))
    settings = {
        "bundle": "compact_segmentation",
        "overrides": {"dataset_dir": str(data)},
        "configs": {"train.yaml": "0123456789ab"},
    }
    (root / "settings.json").write_text(json.dumps(settings))
    pd.DataFrame({"patient": names, "seen": [one in seen for one in names]}).to_csv(root / "patients.csv", index=False)
    assert bundle_path("compact_segmentation").is_dir()
    return root
