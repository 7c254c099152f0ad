"""Tables and intervals, against values computed by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from scipy import stats

from medkd.ladder import Comparison, Ladder, compare, render
from medkd.ladder.table import cell_dir, collect, rung_table, write_tables

LOW, HIGH = np.array([0.5, 0.6, 0.7, 0.4]), np.array([0.7, 0.7, 0.95, 0.5])


def table(**rungs):
    """Scores of rungs: for each seed a list over patients."""
    rows = [
        {"patient": f"p{number}", "dice": value, "rung": rung, "seed": seed}
        for rung, seeds in rungs.items()
        for seed, values in enumerate(seeds)
        for number, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def ladder(*rungs, **claims):
    return Ladder(Path("bundle"), {rung: {} for rung in rungs}, claims)


def test_the_interval_is_that_of_the_paired_t_test():
    found = compare(table(low=[LOW], high=[HIGH]), "high", "low")
    delta = HIGH - LOW  # 0.2, 0.1, 0.25, 0.1
    half = stats.t.ppf(0.975, 3) * delta.std(ddof=1) / 2
    assert found.difference == pytest.approx(0.1625)
    assert (found.low, found.high) == (pytest.approx(0.1625 - half), pytest.approx(0.1625 + half))
    assert half == pytest.approx(3.182446 * 0.075 / 2, rel=1e-5)
    assert found.verdict == "better"
    assert compare(table(low=[LOW], high=[HIGH]), "low", "high").verdict == "worse"


def test_patients_are_paired_by_name_and_averaged_over_seeds():
    scores = table(low=[LOW - 0.1, LOW + 0.1], high=[HIGH - 0.2, HIGH + 0.2]).sample(frac=1, random_state=0)
    found, expected = compare(scores, "high", "low"), compare(table(low=[LOW], high=[HIGH]), "high", "low")
    assert (found.difference, found.low) == (pytest.approx(expected.difference), pytest.approx(expected.low))


def test_one_patient_decides_nothing():
    found = compare(table(low=[[0.1]], high=[[0.9]]), "high", "low")
    assert (found.difference, found.low, found.high) == (pytest.approx(0.8), -np.inf, np.inf)
    assert found.verdict == "undecided"


def test_equal_differences_have_an_interval_without_width():
    found = compare(table(low=[[0.25, 0.5]], high=[[0.5, 0.75]]), "high", "low")
    assert (found.low, found.difference, found.high) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 0.2, "better"), (-0.2, -0.1, "worse"), (-0.1, 0.1, "undecided"), (0, 1, "undecided")],
)
def test_the_verdict_is_whether_the_interval_excludes_0(low, high, verdict):
    assert Comparison("a", "b", (low + high) / 2, low, high).verdict == verdict


def test_a_row_per_rung_with_its_spreads_and_the_step_from_the_rung_before():
    rows = rung_table(ladder("low", "high"), table(low=[LOW], high=[HIGH - 0.1, HIGH + 0.1])).set_index("rung")
    high = rows.loc["high"]
    assert high["mean"] == pytest.approx(HIGH.mean())
    assert high["sd_patients"] == pytest.approx(HIGH.std(ddof=1))
    assert high["sd_seeds"] == pytest.approx(0.2 / np.sqrt(2))
    assert (high["seeds"], high["patients"]) == (2, 4)
    assert high["difference"] == pytest.approx(0.1625)
    assert np.isnan(rows.loc["low", "difference"])


def test_the_markdown_has_each_rung_and_each_claim():
    text = render(ladder("low", "high", high=["low"]), table(low=[LOW], high=[HIGH + 0.0005]))
    lines = text.splitlines()
    assert lines[0] == "Dice of the student, 4 test patients, 1 seed(s)"
    assert "| low | 0.550 ± 0.129 |  |  |" in lines
    assert "| high | 0.713 ± 0.184 |  | +0.163 [+0.044, +0.282] |" in lines
    assert lines[-1] == "| high − low | +0.163 [+0.044, +0.282] | better |"


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


def test_several_test_sets_have_tables_of_their_own():
    scores = pd.concat(
        [
            table(low=[LOW], high=[HIGH]).assign(dataset="A"),
            table(low=[LOW], high=[LOW - 0.1])
            .replace({"patient": r"^p"}, {"patient": "q"}, regex=True)
            .assign(dataset="B"),
        ]
    )
    both = render(ladder("low", "high", high=["low"]), scores)
    overall, first, second = both.split("Dice of the student, ")[1:]
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
    zero_line="everything",
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


def test_the_zero_line_is_the_first_rung_of_every_table(regions):
    text = render(REGIONS, regions)
    assert "| everything | 0.375 ± 0.177 |  |  |\n| student | 0.625 ± 0.177 |  | +0.250 [+0.250, +0.250] |" in text
    assert "| student − everything | +0.250 [+0.250, +0.250] | better |" in text


def test_a_unit_without_a_score_is_left_out_of_that_score_alone(regions):
    text = render(REGIONS, regions)
    assert "IoU of the student, 2 test slides, 1 seed(s)" in text
    assert "Background F1 of the student, 1 test slides, 1 seed(s)" in text
    assert "| student − everything | +0.900 [-inf, +inf] | undecided |" in text


def test_the_plot_shows_the_zero_line_and_skips_what_is_missing(regions, tmp_path):
    assert (tmp_path / "ladder.png") in write_tables(REGIONS, regions, tmp_path)
    assert np.ptp(imread(tmp_path / "ladder.png")[..., :3]) > 0.5
