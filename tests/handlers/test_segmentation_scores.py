"""Dice, HD95 and surface Dice, against values computed by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from medkd.handlers import SegmentationScores
from medkd.handlers.segmentation_scores import score_case

CLASSES = ["left ventricle", "myocardium"]


def one_hot(*regions, size=12, spacing=None):
    """Background, and a class for every (rows, columns) region or ``None``."""
    maps = torch.zeros(1 + len(regions), size, size)
    for number, region in enumerate(regions, start=1):
        if region is not None:
            maps[number, slice(*region[0]), slice(*region[1])] = 1
    maps[0] = 1 - maps[1:].sum(0)
    if spacing is None:
        return maps
    return MetaTensor(maps, affine=torch.diag(torch.tensor([*spacing, 1.0, 1.0])))


LEFT = ((2, 6), (2, 6))  # 16 pixels
SHIFTED = ((4, 8), (2, 6))  # of which 8 overlap
OTHER = ((8, 11), (8, 11))


def test_dice_is_twice_the_overlap_over_the_sizes():
    rows = score_case(one_hot(SHIFTED, OTHER), one_hot(LEFT, OTHER), CLASSES)
    assert rows == [{"class": "left ventricle", "dice": 0.5}, {"class": "myocardium", "dice": 1.0}]


def test_hd95_is_in_the_units_of_the_spacing():
    label = one_hot(LEFT, OTHER, spacing=(1.5, 0.5))
    rows = score_case(one_hot(SHIFTED, OTHER), label, CLASSES, hausdorff=True)
    assert [row["unit"] for row in rows] == ["mm", "mm"]
    assert [row["hd95"] for row in rows] == pytest.approx([3.0, 0.0])  # two rows of 1.5 mm


def test_hd95_is_in_voxels_where_the_spacing_is_unknown():
    rows = score_case(one_hot(SHIFTED, OTHER), one_hot(LEFT, OTHER), CLASSES, hausdorff=True)
    assert (rows[0]["hd95"], rows[0]["unit"]) == (pytest.approx(2.0), "voxels")


@pytest.mark.parametrize("tolerance", [0.4, 0.9, 1.6, 3.0])
def test_surface_dice_is_the_share_of_both_surfaces_near_the_other(tolerance):
    """Two squares, one two rows below the other; distances of all pairs of their surfaces by SciPy."""
    truth, found = (region[None].bool().numpy()[0] for region in (one_hot(LEFT)[1], one_hot(SHIFTED)[1]))
    surfaces = [np.argwhere(mask & ~binary_erosion(mask)) * [1.5, 0.5] for mask in (truth, found)]
    distances = cdist(*surfaces)
    near = (distances.min(1) <= tolerance).sum() + (distances.min(0) <= tolerance).sum()
    label = one_hot(LEFT, OTHER, spacing=(1.5, 0.5))
    rows = score_case(one_hot(SHIFTED, OTHER), label, CLASSES, surface_tolerance=tolerance)
    assert rows[0]["surface_dice"] == pytest.approx(near / sum(map(len, surfaces)))
    assert (rows[0]["surface_dice"] == 1.0) == (tolerance == 3.0)
    assert rows[1] == {"class": "myocardium", "dice": 1.0, "surface_dice": 1.0, "unit": "mm"}


def test_a_surface_that_one_lacks_is_wrong_and_of_neither_there_is_none():
    rows = score_case(one_hot(LEFT, None), one_hot(LEFT, OTHER), CLASSES, surface_tolerance=1.0)
    assert rows[1]["surface_dice"] == 0.0
    rows = score_case(one_hot(LEFT, None), one_hot(LEFT, None), CLASSES, surface_tolerance=1.0)
    assert math.isnan(rows[1]["surface_dice"])


def test_a_class_that_neither_has_is_right_and_has_no_distance():
    rows = score_case(one_hot(LEFT, None), one_hot(LEFT, None), CLASSES, hausdorff=True)
    assert rows[1]["dice"] == 1.0
    assert math.isnan(rows[1]["hd95"])


@pytest.mark.parametrize("missing", ["prediction", "label"])
def test_a_class_that_one_lacks_is_wrong_and_has_no_distance(missing):
    pair = [one_hot(LEFT, OTHER), one_hot(LEFT, None)]
    rows = score_case(*(pair if missing == "label" else pair[::-1]), CLASSES, hausdorff=True)
    assert rows[1]["dice"] == 0.0
    assert math.isnan(rows[1]["hd95"])
    assert rows[0]["dice"] == 1.0


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"expected a prediction of the label's shape \(3, 12, 12\), got \(3, 8, 8\)"):
        score_case(one_hot(LEFT, OTHER, size=8), one_hot(LEFT, OTHER), CLASSES)


def case(path, prediction, label, teacher=None, patient=None):
    """What the engine has of a case after an iteration: the batch's item, and the output's."""
    source = {"image": MetaTensor(torch.zeros(1, 12, 12), meta={"filename_or_obj": path})}
    if patient is not None:
        source["patient"] = patient
    output = {"pred": prediction, "label": label, **({"teacher": teacher} if teacher is not None else {})}
    return source, output


def run(cases, **options):
    """An evaluation whose iterations have these cases."""
    outputs = iter([[output for _, output in batch] for batch in cases])
    engine = Engine(lambda engine, batch: next(outputs))
    branches = {"student": "pred", "teacher": "teacher"}
    SegmentationScores(CLASSES, branches, **options).attach(engine)
    engine.run([[source for source, _ in batch] for batch in cases])
    return engine.state.metrics


@pytest.fixture
def cases():
    label = one_hot(LEFT, OTHER, spacing=(2.0, 2.0))
    missing = one_hot(LEFT, None)
    return [
        [case("/d/b.nii.gz", one_hot(SHIFTED, OTHER), label, one_hot(LEFT, OTHER), patient="p1")],
        [
            case("/d/a.nii.gz", one_hot(LEFT, OTHER), label, missing, patient="p1"),
            case("/d/c.nii.gz", missing, label, one_hot(LEFT, OTHER), patient="p2"),
        ],
    ]


def test_metrics_are_means_over_the_cases_of_each_branch_and_class(cases):
    assert run(cases) == pytest.approx(
        {
            "student_dice_left_ventricle": 2.5 / 3,
            "student_dice_myocardium": 2 / 3,
            "student_dice": (2.5 + 2) / 6,
            "teacher_dice_left_ventricle": 1.0,
            "teacher_dice_myocardium": 2 / 3,
            "teacher_dice": 5 / 6,
        }
    )


def test_distances_are_averaged_over_the_cases_that_have_them(cases):
    metrics = run(cases, hausdorff=True)
    assert metrics["student_hd95_left_ventricle"] == pytest.approx(4.0 / 3)
    assert metrics["student_hd95_myocardium"] == 0.0  # of the two cases that have one
    assert metrics["student_hd95"] == pytest.approx(2.0 / 3)


def test_a_row_per_case_branch_and_class_is_written(cases, tmp_path):
    run(cases, hausdorff=True, output_dir=str(tmp_path / "eval"))
    table = pd.read_csv(tmp_path / "eval" / "cases.csv")
    assert list(table.columns) == ["case", "patient", "branch", "class", "dice", "hd95", "unit"]
    assert len(table) == 3 * 2 * 2
    assert table["case"].tolist() == sorted(table["case"])
    row = table[(table["case"] == "b.nii.gz") & (table["branch"] == "student") & (table["class"] == "left ventricle")]
    assert row[["patient", "dice", "hd95", "unit"]].to_numpy().tolist() == [["p1", 0.5, 4.0, "mm"]]
    assert table["hd95"].isna().sum() == 2


def test_the_summary_has_mean_spread_and_undefined_distances(cases, tmp_path):
    run(cases, hausdorff=True, output_dir=str(tmp_path))
    table = pd.read_csv(tmp_path / "summary.csv").set_index(["branch", "class", "score"])
    dice = table.loc[("student", "left ventricle", "dice")]
    assert dice["mean"] == pytest.approx(2.5 / 3, abs=1e-6)
    assert dice["sd"] == pytest.approx(pd.Series([0.5, 1, 1]).std(), abs=1e-6)
    assert (dice["median"], dice["cases"], dice["undefined"]) == (1.0, 3, 0)
    distance = table.loc[("student", "myocardium", "hd95")]
    assert (distance["mean"], distance["cases"], distance["undefined"], distance["unit"]) == (0.0, 2, 1, "mm")
    assert table.xs("dice", level="score")["unit"].isna().all()  # a share has none
    over_classes = table.loc[("student", "mean", "dice")]
    assert over_classes["mean"] == pytest.approx((0.75 + 1 + 0.5) / 3, abs=1e-6)
    assert over_classes["median"] == 0.75


def test_without_distances_the_files_have_none(cases, tmp_path):
    run(cases, output_dir=str(tmp_path))
    assert "hd95" not in pd.read_csv(tmp_path / "cases.csv")
    assert set(pd.read_csv(tmp_path / "summary.csv")["score"]) == {"dice"}


def test_without_a_patient_the_case_is_its_own(tmp_path):
    run([[case("/d/b.nii.gz", one_hot(LEFT, OTHER), one_hot(LEFT, OTHER))]], output_dir=str(tmp_path))
    table = pd.read_csv(tmp_path / "cases.csv")
    assert table["patient"].tolist() == ["b.nii.gz", "b.nii.gz"]
    assert table["branch"].unique().tolist() == ["student"]  # the output has no teacher


def test_a_case_that_a_sampler_repeats_counts_once():
    good, bad = one_hot(LEFT, OTHER), one_hot(SHIFTED, OTHER)
    twice = [case("/d/a.nii.gz", bad, good), case("/d/a.nii.gz", bad, good), case("/d/b.nii.gz", good, good)]
    assert run([twice])["student_dice_left_ventricle"] == 0.75


def test_cases_of_one_file_name_in_two_folders_all_count():
    good, bad = one_hot(LEFT, OTHER), one_hot(SHIFTED, OTHER)
    two = [case(f"/d/{name}/image.nii.gz", p, good, patient=name) for name, p in (("p1", bad), ("p2", good))]
    assert run([two])["student_dice_left_ventricle"] == 0.75


def test_each_evaluation_starts_anew():
    label, predictions = one_hot(LEFT, OTHER), [one_hot(SHIFTED, OTHER), one_hot(LEFT, OTHER)]
    pairs = [case(f"/d/{number}.nii.gz", prediction, label) for number, prediction in enumerate(predictions)]
    engine = Engine(lambda engine, batch: [pairs[engine.state.epoch - 1][1]])
    SegmentationScores(CLASSES, {"student": "pred"}).attach(engine)
    engine.run([[pairs[0][0]]], max_epochs=2)
    assert engine.state.metrics["student_dice_left_ventricle"] == 1.0


def test_only_the_first_process_writes(cases, tmp_path):
    engine = Engine(lambda engine, batch: [cases[0][0][1]])
    engine.state.rank = 1
    SegmentationScores(CLASSES, {"student": "pred"}, output_dir=str(tmp_path)).attach(engine)
    engine.run([[cases[0][0][0]]])
    assert engine.state.metrics["student_dice_left_ventricle"] == 0.5
    assert list(tmp_path.iterdir()) == []
