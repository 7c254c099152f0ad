"""From folders to what a report is made of."""

import json

import pandas as pd
import pytest

from medkd.bundle import bundle_path
from medkd.report import Limits, judge, read_material
from medkd.report.cases import beside, over_classes, read_cases
from medkd.report.material import Cell

from .planted import plant


def test_the_parts_are_those_that_the_bundle_names(tmp_path):
    material = read_material(plant(tmp_path / "ladder"))
    assert material.parts == {"student": "pixel", "teacher": "teacher", "alone": "student_alone"}
    assert material.seeds == [0, 1]
    assert material.data.sections == {"training": (2, 2), "validation": (1, 1), "test": (12, 12)}


def test_the_parts_can_be_named(tmp_path):
    material = read_material(plant(tmp_path / "ladder"), parts={"student": "student_alone"})
    assert material.student == "student_alone"
    with pytest.raises(ValueError, match="--teacher: 'nobody' is no rung of this ladder"):
        read_material(tmp_path / "ladder", parts={"teacher": "nobody"})


def test_another_rung_does_not_stand_for_the_student_alone(tmp_path):
    root = plant(tmp_path / "ladder")
    (root / "student_alone").rename(root / "channelwise")  # which is said to beat pixel too
    material = read_material(root, parts={"student": "channelwise"})
    assert material.parts == {"student": "channelwise", "teacher": "teacher"}
    (gain,) = [check for check in judge(material, Limits()).checks if check.name == "gain"]
    assert (gain.state, gain.brief.startswith("no student was trained alone")) == ("open", True)


def test_scores_are_means_over_the_cases_of_the_table(tmp_path):
    root = plant(tmp_path / "ladder", seeds=(0,))
    table = pd.read_csv(root / "pixel" / "seed0" / "eval" / "cases.csv").set_index("case")["dice"]
    shown = beside(material := read_material(root), over_classes(material.cases)).set_index("case")["student"]
    pd.testing.assert_series_equal(shown, table.rename("student"), check_index_type=False)
    assert material.scores[material.scores["rung"] == "pixel"]["dice"].mean() == pytest.approx(table.mean())


def test_numbers_stand_for_names_and_the_tables_still_belong_together(tmp_path):
    root = plant(tmp_path / "ladder", bad="p07")
    named, hidden = read_material(root), read_material(root, anonymous=True)
    for one in (named, hidden):
        worst = one.cases[one.cases["network"] == "pixel"].sort_values("dice").iloc[0]
        trust = one.trust[(one.trust["network"] == "pixel") & (one.trust["number"] == worst["number"])]
        assert (trust["false_islands"] == 1).all(), "the islands of another case"
    assert (
        set(hidden.cases["patient"])
        == {f"patient {number}" for number in range(1, 13)}
        == set(hidden.scores["patient"])
    )
    assert not hidden.scores["unit"].str.startswith("p0").any()


def test_a_table_of_other_cases_is_not_taken(tmp_path):
    root = plant(tmp_path / "ladder")
    path = root / "pixel" / "seed0" / "eval" / "trust.csv"
    pd.read_csv(path).iloc[:-1].to_csv(path, index=False)
    trust = read_material(root).trust
    assert set(trust[trust["network"] == "pixel"]["seed"]) == {1}


def test_a_rung_s_own_folder_is_that_of_a_training(tmp_path):
    cell = plant(tmp_path / "ladder") / "pixel" / "seed0"
    (cell / "settings.json").write_text('{"seed": 0}')
    material = read_material(cell, bundle=bundle_path("compact"), dataset_dir=tmp_path / "ladder-data")
    assert material.parts == {"student": "student"}
    assert len(material.cases) == 12
    states = {check.name: check.state for check in judge(material, Limits()).checks}
    assert (states["gain"], states["teacher"], states["seeds"]) == ("open", "caution", "caution")


def test_tiles_that_are_whole_files_have_no_place_in_them(tmp_path):
    """As IKD-MIL's evaluation writes them: F1 is their Dice, the map that is all foreground is no network."""
    folder = plant(tmp_path / "ladder") / "pixel" / "seed0"
    lines = ["case,location,region,patient,positive,branch,f1,iou,hausdorff,background_f1"]
    lines += [
        f"t{n}.png,,t{n},t{n},1,{branch},0.{n},0.2,9.5," for n in (1, 2) for branch in ("student", "all_foreground")
    ]
    (folder / "eval" / "cases.csv").write_text("\n".join(lines))
    cases = read_cases(Cell("pixel", "student", 0, folder, 1.0))
    assert cases[["number", "case", "dice", "distance", "class"]].to_numpy().tolist() == [
        [1, "t1.png", 0.1, 9.5, "foreground"],
        [2, "t2.png", 0.2, 9.5, "foreground"],
    ]


def test_what_is_neither_a_ladder_nor_a_bundle_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected the rungs of a bundle"):
        read_material(tmp_path)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere: expected the folder of a ladder or of a bundle, found no"):
        read_material(tmp_path / "nowhere")


def test_an_unknown_bundle_is_asked_for(tmp_path):
    root = plant(tmp_path / "ladder")
    settings = json.loads((root / "settings.json").read_text())
    (root / "settings.json").write_text(json.dumps({**settings, "bundle": "heart"}))
    with pytest.raises(FileNotFoundError, match=r"expected the bundle 'heart' around it or among medkd's.*--bundle"):
        read_material(root)
