"""Scores of tumour maps: per tile, per region and over all, beside the baseline."""

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from medkd.handlers import TileScores


def tile(name, location, *, positive, region="a", patient="p1", seed=0):
    probability = torch.from_numpy(np.random.default_rng(seed).random((1, 8, 8))).float() * 0.4
    mask = torch.zeros(1, 8, 8)
    if positive:
        mask[:, :4] = 1
        probability[:, :3] += 0.6
    meta = {"filename_or_obj": f"/data/{name}.png", "region": torch.tensor([*location, 8, 8])}
    return {"image": MetaTensor(mask, meta=meta), "mask": mask, "region": region, "patient": patient}, {
        "pred": probability
    }


@pytest.fixture
def tiles():
    return [
        tile("a", (0, 0), positive=True),
        tile("a", (0, 8), positive=False, seed=1),
        tile("b", (0, 0), positive=True, region="b", patient="p2", seed=2),
    ]


def run(tiles, folder):
    engine = Engine(lambda engine, batch: [output for source, output in tiles if source is batch[0]])
    TileScores(str(folder)).attach(engine)
    engine.run([[source] for source, _ in tiles], max_epochs=2)  # the second epoch forgets the first
    return engine.state.metrics


def test_tables_have_a_row_per_tile_and_per_region(tiles, tmp_path):
    metrics = run(tiles, tmp_path)
    cases = pd.read_csv(tmp_path / "cases.csv")
    assert list(cases.columns[:6]) == ["case", "location", "region", "patient", "positive", "branch"]
    student = cases[cases["branch"] == "student"]
    assert list(student["location"]) == ["0 0", "0 8", "0 0"]
    assert student["f1"].notna().tolist() == [True, False, True]
    assert student["background_f1"].tolist()[1] == 1.0
    assert student["f1"].dropna().tolist() == pytest.approx([2 * 24 / 56] * 2)
    regions = pd.read_csv(tmp_path / "regions.csv")
    assert list(zip(regions["region"], regions["patient"], regions["branch"], strict=True)) == [
        ("a", "p1", "student"),
        ("a", "p1", "all_foreground"),
        ("b", "p2", "student"),
        ("b", "p2", "all_foreground"),
    ]
    assert metrics["student_iou"] == pytest.approx(24 / 32)


def test_a_teacher_s_scores_are_called_so(tiles, tmp_path):
    engine = Engine(lambda engine, batch: [output for source, output in tiles if source is batch[0]])
    TileScores(str(tmp_path), branch="teacher").attach(engine)
    engine.run([[source] for source, _ in tiles], max_epochs=1)
    assert set(pd.read_csv(tmp_path / "regions.csv")["branch"]) == {"teacher", "all_foreground"}
    assert "teacher_pxap" in engine.state.metrics


def test_the_baseline_is_what_all_foreground_gets(tiles, tmp_path):
    metrics = run(tiles, tmp_path)
    regions = pd.read_csv(tmp_path / "regions.csv").set_index(["region", "branch"])
    zero = regions.loc[("a", "all_foreground")]
    assert (zero["pxap"], zero["iou"]) == (pytest.approx(0.25), pytest.approx(0.25))
    assert zero["f1"] == pytest.approx(2 * 32 / 96, abs=1e-6)
    assert zero["background_f1"] == 0
    assert metrics["all_foreground_pxap"] < metrics["student_pxap"]


def test_the_summary_is_over_all_pixels(tiles, tmp_path):
    run(tiles, tmp_path)
    summary = pd.read_csv(tmp_path / "summary.csv").set_index("branch")
    assert summary.loc["student", ["tiles", "positive", "threshold"]].tolist() == [3, 2, 0.5]
    assert summary.loc["all_foreground", "pxap"] == pytest.approx(64 / 192, abs=1e-6)
