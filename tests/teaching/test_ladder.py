"""A teacher that is a folder, as a rung: scored as it is, on the images' own grids."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medkd.bundle import bundle_path
from medkd.datasets import make_cardiac_phantoms
from medkd.ladder import load_ladder, run_ladder


def _dice(found: np.ndarray, truth: np.ndarray, value: int) -> float:
    a, b = found == value, truth == value
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_the_scores_are_those_of_the_files(tmp_path: Path) -> None:
    """Masks that are a row off, by another tool; Dice by NumPy."""
    data, folder = tmp_path / "data", tmp_path / "predictions"
    make_cardiac_phantoms(data, strong=1, weak=1, validation=1, test=2, size=48, slices=3)
    folder.mkdir()
    expected = {}
    for item in json.loads((data / "datalist.json").read_text())["test"]:
        label = nib.load(data / item["label"])
        truth = np.asanyarray(label.dataobj)
        found = np.roll(truth, 1, axis=0)
        name = Path(item["image"]).name
        nib.save(nib.Nifti1Image(found, label.affine), folder / name)
        expected[name] = np.mean([_dice(found, truth, value) for value in (1, 2, 3)])
    ladder = load_ladder(bundle_path("compact"), ["predictions"])
    settings = {"teacher_dir": str(folder), "num_workers": 0, "patch_size": [32, 32]}
    scores = run_ladder(ladder, tmp_path / "out", dataset_dir=data, overrides=settings, progress=False)
    assert list(scores["dice"]) == pytest.approx(list(expected.values()), abs=1e-5)
    assert 0.5 < min(expected.values()) < 0.99
    assert not (tmp_path / "out" / "predictions" / "seed0" / "models").exists()


def test_without_a_folder_it_is_asked_for(tmp_path: Path) -> None:
    make_cardiac_phantoms(tmp_path / "data", strong=1, weak=1, validation=1, test=1, size=48, slices=2)
    ladder = load_ladder(bundle_path("compact"), ["predictions"])
    with pytest.raises(
        RuntimeError, match=r"failed: teacher_dir: expected a folder of predictions, .* found none given"
    ):
        run_ladder(ladder, tmp_path / "out", dataset_dir=tmp_path / "data", progress=False)


def test_what_learns_beside_it_waits_for_no_other() -> None:
    bundle = bundle_path("compact")
    assert load_ladder(bundle, ["folder"]).reads("pixel") == []
    assert load_ladder(bundle).reads("pixel") == ["teacher"]
    assert "predictions" not in load_ladder(bundle).rungs  # it needs a folder
