"""Tables, against values computed by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from medkd.ladder import Ladder, compare, render
from medkd.ladder.table import cell_dir, collect, rung_table, write_tables

from .tables import table

LOW, HIGH = np.array([0.5, 0.6, 0.7, 0.4]), np.array([0.7, 0.7, 0.95, 0.5])


def ladder(*rungs, **claims):
    return Ladder(Path("bundle"), {rung: {} for rung in rungs}, claims)


def test_a_row_per_rung_with_its_spreads_and_the_step_from_the_rung_before():
    rows = rung_table(ladder("low", "high"), table(low=[LOW, LOW], high=[HIGH - 0.1, HIGH + 0.1])).set_index("rung")
    high = rows.loc["high"]
    assert high["mean"] == pytest.approx(HIGH.mean())
    assert high["sd_units"] == pytest.approx(HIGH.std(ddof=1))
    assert high["sd_seeds"] == pytest.approx(0.2 / np.sqrt(2))
    assert (high["seeds"], high["units"], high["patients"]) == (2, 4, 4)
    assert high["difference"] == pytest.approx(0.1625)
    assert np.isnan(rows.loc["low", "difference"])


def test_the_markdown_has_each_rung_and_each_claim():
    text = render(ladder("low", "high", high=["low"]), table(low=[LOW], high=[HIGH + 0.0005]))
    lines = text.splitlines()
    assert lines[0] == "Dice, 4 test patients, 1 seed(s)"
    assert "| low | 0.550 ± 0.129 |  |  |" in lines
    assert "| high | 0.713 ± 0.184 |  | +0.163 [+0.044, +0.282] |" in lines
    assert "| high − low | +0.163 [+0.044, +0.282] | 0.022 | better |" in lines


def test_without_claims_there_is_one_table_and_seeds_have_a_spread():
    text = render(ladder("low"), table(low=[LOW - 0.1, LOW + 0.1]))
    assert "claim" not in text
    assert "| low | 0.550 ± 0.129 | 0.141 |  |" in text


def test_tables_and_plot_are_written(tmp_path):
    rungs, scores = ladder("low", "high_er", high_er=["low"]), table(low=[LOW], high_er=[HIGH])
    paths = write_tables(rungs, scores, tmp_path)
    assert sorted(path.name for path in paths) == ["ladder.csv", "ladder.md", "ladder.png", "patients.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
    assert (tmp_path / "ladder.md").read_text() == render(rungs, scores) + "\n"
    assert pd.read_csv(tmp_path / "ladder.csv")["mean"].tolist() == pytest.approx([LOW.mean(), HIGH.mean()])
    assert len(pd.read_csv(tmp_path / "patients.csv")) == 8
    assert np.ptp(imread(tmp_path / "ladder.png")[..., :3]) > 0.5


def test_one_patient_can_be_plotted(tmp_path):
    write_tables(ladder("low", "high"), table(low=[[0.5]], high=[[0.6]]), tmp_path)
    assert (tmp_path / "ladder.png").stat().st_size > 1000


def test_the_cases_of_a_patient_are_averaged_and_other_branches_left_out(tmp_path):
    for seed, value in ((0, 0.2), (1, 0.4)):
        folder = cell_dir(tmp_path, "low", seed) / "eval"
        folder.mkdir(parents=True)
        rows = [("a", "student", value), ("a", "student", value + 0.2), ("b", "student", 1.0), ("a", "teacher", 0.0)]
        pd.DataFrame(rows, columns=["patient", "branch", "dice"]).to_csv(folder / "cases.csv", index=False)
    scores = collect(ladder("low"), tmp_path, [0, 1])
    assert scores[["rung", "seed", "patient"]].to_numpy().tolist() == [
        ["low", seed, patient] for seed in (0, 1) for patient in "ab"
    ]
    assert scores["dice"].tolist() == pytest.approx([0.3, 1.0, 0.5, 1.0])


def test_a_rung_that_trains_the_teacher_has_the_teacher_s_scores(tmp_path):
    rungs = Ladder(Path("bundle"), {"teacher": {"role": "teacher"}, "student": {}}, {})
    for rung, value in (("teacher", 0.9), ("student", 0.7)):
        folder = cell_dir(tmp_path, rung, 0) / "eval"
        folder.mkdir(parents=True)
        (folder / "cases.csv").write_text(f"patient,branch,dice\na,{rung},{value}\n")
    assert collect(rungs, tmp_path, [0])["dice"].tolist() == [0.9, 0.7]


def test_several_test_sets_have_tables_of_their_own():
    scores = pd.concat(
        [
            table(low=[LOW], high=[HIGH]).assign(dataset="A"),
            table(low=[LOW], high=[LOW - 0.1])
            .replace({"unit": r"^p", "patient": r"^p"}, {"unit": "q", "patient": "q"}, regex=True)
            .assign(dataset="B"),
        ]
    )
    both = render(ladder("low", "high", high=["low"]), scores)
    overall, first, second = both.split("Dice, ")[1:]
    assert overall.startswith("8 test patients, 1 seed(s)")
    assert first.startswith("4 test patients of A")
    assert second.startswith("4 test patients of B")
    assert "better |" in first
    assert "worse |" in second


def test_the_test_set_of_a_case_is_kept(tmp_path):
    folder = cell_dir(tmp_path, "only", 0) / "eval"
    folder.mkdir(parents=True)
    lines = [
        "case,patient,dataset,branch,class,dice",
        "1.png,A/1,A,student,polyp,0.5",
        "1.png,B/1,B,student,polyp,0.75",
    ]
    (folder / "cases.csv").write_text("\n".join(lines))
    found = collect(ladder("only"), tmp_path, [0])
    assert found[["patient", "dataset", "dice"]].values.tolist() == [["A/1", "A", 0.5], ["B/1", "B", 0.75]]


FRAMES = replace(ladder("low", "high", high=["low"]), unit="case", units="images", groups="sequences")


@pytest.fixture
def frames(tmp_path):
    """Two rungs, two seeds; three frames of two sequences in one test set, a frame of the same name in another."""
    for rung, gain in (("low", 0.0), ("high", 0.1)):
        for seed in (0, 1):
            folder = cell_dir(tmp_path, rung, seed) / "eval"
            folder.mkdir(parents=True)
            rows = [("1.png", "A/1", "A", 0.5), ("2.png", "A/1", "A", 0.6), ("3.png", "A/2", "A", 0.7)]
            rows += [("1.png", "B/1", "B", 0.2)]
            table = pd.DataFrame(rows, columns=["case", "patient", "dataset", "dice"]).assign(branch="student")
            table["dice"] += gain * (1 + np.arange(4) + seed)
            table.to_csv(folder / "cases.csv", index=False)
    return collect(FRAMES, tmp_path, [0, 1], seen={"A/1", "A/2"})


def test_frames_are_scored_one_by_one_and_grouped_by_sequence(frames):
    assert frames.groupby(["rung", "seed"]).size().tolist() == [4, 4, 4, 4]
    rows = rung_table(FRAMES, frames).set_index("rung")
    assert rows.loc["low", "mean"] == pytest.approx(np.mean([0.5, 0.6, 0.7, 0.2]))  # over frames, not over sequences
    assert (rows.loc["low", "units"], rows.loc["low", "patients"]) == (4, 3)
    (alone,) = compare(frames.assign(patient=frames["unit"]), [("high", "low")])
    (grouped,) = compare(frames, [("high", "low")])
    assert grouped.difference == alone.difference == pytest.approx(0.3)
    assert (grouped.low, grouped.high) != (alone.low, alone.high)


def test_the_title_tells_what_training_has_seen_of_the_test_set(frames):
    titles = [part.splitlines()[0] for part in ("\n" + render(FRAMES, frames)).split("\nDice, ")[1:]]
    assert titles == [
        "4 test images (3 sequences), 2 seed(s); 3 of the images show a patient of training or validation",
        "3 test images of A (2 sequences), 2 seed(s); 3 of the images show a patient of training or validation",
        "1 test images of B, 2 seed(s)",
    ]


def test_the_text_below_says_what_the_intervals_count():
    one = render(ladder("low", "high", high=["low"]), table(low=[LOW], high=[HIGH]))
    assert "\nIntervals count patients alone: one seed does not tell how much another training would differ.\n" in one
    two = ladder("low", "middle", "high", high=["low", "middle"])
    text = render(two, table(low=[LOW, LOW], middle=[LOW, HIGH], high=[HIGH, LOW + 0.1]))
    last = "Intervals count seeds and patients; those of the 2 claims are corrected by Holm's procedure."
    assert last in text.splitlines()


def test_titles_name_what_is_tested():
    made = Ladder(Path("bundle"), {"low": {}}, {}, units="images")
    assert "4 test images, 1 seed(s)" in render(made, table(low=[LOW]))


REGIONS = Ladder(
    Path("bundle"),
    {"student": {}},
    {"student": ["everything"]},
    scores={"iou": "IoU", "background": "Background F1"},
    table="regions.csv",
    unit="region",
    units="slides",
    baseline="everything",
)


@pytest.fixture
def regions(tmp_path):
    """Two regions, the student and a trivial map beside it; the second region has no background to score."""
    folder = cell_dir(tmp_path, "student", 0) / "eval"
    folder.mkdir(parents=True)
    lines = ["region,branch,iou,background", "a,student,0.5,0.9", "b,student,0.75,"]
    lines += ["a,everything,0.25,0.0", "b,everything,0.5,", "a,teacher,0.1,0.1"]
    (folder / "regions.csv").write_text("\n".join(lines))
    return collect(REGIONS, tmp_path, [0])


def test_the_baseline_is_the_first_rung_of_every_table(regions):
    text = render(REGIONS, regions)
    assert "| everything | 0.375 ± 0.177 |  |  |\n| student | 0.625 ± 0.177 |  | +0.250 [+0.250, +0.250] |" in text
    assert "| student − everything | +0.250 [+0.250, +0.250] | < 0.001 | better |" in text


def test_a_unit_without_a_score_is_left_out_of_that_score_alone(regions):
    text = render(REGIONS, regions)
    assert "IoU, 2 test slides, 1 seed(s)" in text
    assert "Background F1, 1 test slides, 1 seed(s)" in text
    assert "| student − everything | +0.900 [-inf, +inf] | 1.000 | undecided |" in text


def test_the_plot_shows_the_baseline_and_skips_what_is_missing(regions, tmp_path):
    assert (tmp_path / "ladder.png") in write_tables(REGIONS, regions, tmp_path)
    assert np.ptp(imread(tmp_path / "ladder.png")[..., :3]) > 0.5
