"""What a report says first, of ladders with planted faults."""

import json

import pytest

from medkd.report import Limits, judge, read_material

from .planted import plant


def verdict(root, limits=None, **planted):
    return judge(read_material(plant(root / "ladder", **planted)), limits or Limits())


def states(found):
    return {check.name: check.state for check in found.checks}


def test_a_good_student_is_deployed(tmp_path):
    found = verdict(tmp_path)
    assert found.head == "Deploy"
    assert set(states(found).values()) == {"pass"}
    assert found.sentences[0] == "Pixel may be deployed: it passes all 8 checks."
    assert "better than student_alone" in found.sentences[1]
    assert "not behind its teacher by more than 0.02" in found.sentences[1]


def test_a_student_that_is_bad_on_one_patient_is_not_deployed_however_good_it_is_on_average(tmp_path):
    found = verdict(tmp_path, limits=Limits(margin=0.5), bad="p07")
    assert found.head == "Do not deploy"
    assert states(found)["single patients"] == "fail"
    assert "it fails on 1 of 12 patients where its teacher does not" in found.sentences[0]
    assert "p07 with 0.15" in found.sentences[0]


def test_a_patient_on_whom_the_teacher_fails_too_is_a_caution(tmp_path):
    material = read_material(plant(tmp_path / "ladder", bad="p07"))
    cases = material.cases.copy()
    cases.loc[cases["patient"] == "p07", "dice"] = 0.15
    object.__setattr__(material, "cases", cases)
    found = judge(material, Limits())
    assert states(found)["single patients"] == "caution"
    assert any("it fails on 1 of 12 patients, as its teacher does" in sentence for sentence in found.sentences)


def test_a_teacher_that_fails_on_most_patients_too_is_no_excuse(tmp_path):
    material = read_material(plant(tmp_path / "ladder"))
    cases = material.cases.assign(dice=material.cases["dice"] - 0.7)
    object.__setattr__(material, "cases", cases)
    found = judge(material, Limits())
    assert states(found)["single patients"] == "fail"
    assert "it fails on 12 of 12 patients, as its teacher does" in found.sentences[0]


def test_an_overconfident_student_is_undecided_and_the_verdict_says_so(tmp_path):
    found = verdict(tmp_path, sure=0.97, right=0.7)
    assert found.head == "Undecided"
    assert "it is overconfident (97% sure of the foreground it sees, it is right in 70% of it)" in found.sentences[0]


def test_an_underconfident_student_is_none_of_that(tmp_path):
    assert states(verdict(tmp_path, sure=0.7, right=0.95))["confidence"] == "pass"


def test_test_patients_that_were_seen_are_counted_and_the_gain_is_told_without_them(tmp_path):
    found = verdict(tmp_path, seen=["p00", "p01", "p02"])
    assert found.head == "Deploy, with caution"
    assert "patient overlap: 3 of 12 test patients show a patient of training or validation" in found.sentences[2]
    assert "without them its gain is +0.1" in found.sentences[2]


def test_an_overlap_that_the_datalist_alone_shows_is_found_too(tmp_path):
    found = verdict(tmp_path, shared=["p03"])
    assert states(found)["held-out patients"] == "fail"
    assert "patient overlap: 1 test images show a patient of training or validation" in found.sentences[0]


def test_images_that_are_nobody_s_may_be_anybody_s(tmp_path):
    root = plant(tmp_path / "ladder")
    file = tmp_path / "ladder-data" / "datalist.json"
    content = json.loads(file.read_text())
    for item in content["test"]:
        del item["patient"]
    file.write_text(json.dumps(content))
    found = judge(read_material(root), Limits())
    assert {states(found)[name] for name in ("held-out patients", "number of patients")} == {"caution"}
    assert found.head == "Deploy, with caution"
    assert "the datalist does not say which image is whose" in " ".join(found.sentences)


def test_nothing_held_out_is_no_result(tmp_path):
    assert verdict(tmp_path, seen=[f"p{number:02d}" for number in range(12)]).head == "Do not deploy"


def test_phantoms_decide_nothing(tmp_path):
    found = verdict(tmp_path, name="polyp phantoms")
    assert found.head == "Undecided"
    assert "phantoms (polyp phantoms), which tell nothing about patients" in found.sentences[0]


def test_one_seed_and_few_patients_are_cautions(tmp_path):
    found = verdict(tmp_path, limits=Limits(few=20), seeds=(0,))
    assert found.head == "Deploy, with caution"
    assert "one seed only" in found.sentences[2]
    assert "only 12 test patients" in found.sentences[2]


@pytest.mark.parametrize(("margin", "state"), [(0.02, "pass"), (0.0001, "open")])
def test_the_ladder_s_margin_counts_before_the_report_s(tmp_path, margin, state):
    """Compact's ladder has a margin for its teacher; with --teacher student_alone there is none, and the report's counts."""
    root = plant(tmp_path / "ladder")
    found = judge(read_material(root), Limits(margin=margin))
    assert states(found)["teacher"] == "pass"
    other = judge(
        read_material(root, parts={"student": "teacher", "teacher": "pixel", "alone": "student_alone"}),
        Limits(margin=margin),
    )
    assert states(other)["teacher"] == state


def test_the_intervals_are_those_of_the_ladder_s_own_table(tmp_path):
    from medkd.ladder import render

    material = read_material(plant(tmp_path / "ladder"))
    table = render(material.ladder, material.scores)
    for check in judge(material, Limits()).checks:
        if check.kind == "scores":
            assert check.brief.split("(Dice ")[1].rstrip(")") in table
