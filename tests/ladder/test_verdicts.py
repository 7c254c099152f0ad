"""Every kind of sentence, word by word; the intervals are computed by hand, or those of a paired t-test."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medkd.ladder import Ladder, load_ladder, overridden, render
from medkd.ladder.verdicts import verdicts

from .tables import table

BUNDLES = Path(__file__).parents[2] / "bundles"
LOW = np.array([0.5, 0.6, 0.7, 0.4])
UP, MIXED = np.array([0.2, 0.1, 0.25, 0.1]), np.array([0.2, -0.1, 0.25, -0.1])
# Means 0.1625 and 0.0625, standard errors 0.0375 and 0.0944, t(3) = 3.182.
UP_FOUND, MIXED_FOUND = "Dice +0.162 [+0.043, +0.282]", "Dice +0.062 [-0.238, +0.363]"
ONE = ": with one, the interval counts patients alone"
READS = "$@bundle_root + '/../../teacher/seed' + str(@seed) + '/models/model.pt'"


def ladder(*rungs, **claims):
    return Ladder(Path("bundle"), {rung: {} for rung in rungs}, claims)


def timed(scores, **minutes):
    return scores.assign(minutes=scores["rung"].map(minutes))


def said(text):
    return [line.removeprefix("* ") for line in text.splitlines()]


PAIR = ladder("logits", "kdas", kdas=["logits"])
UNDECIDED = f"kdas is not told apart from logits: {MIXED_FOUND}"


@pytest.mark.parametrize(
    ("kdas", "minutes", "expected"),
    [
        (
            [LOW + UP, LOW + UP],
            {"kdas": 13, "logits": 10},
            f"kdas is better than logits: {UP_FOUND}, 1.3 times its training time; of the two take kdas.",
        ),
        (
            [LOW + UP],
            {"kdas": 10.2, "logits": 10},
            (
                f"kdas is better than logits: {UP_FOUND}, about the same training time; "
                f"of the two take kdas if more seeds agree{ONE}."
            ),
        ),
        (
            [LOW - UP, LOW - UP],
            {"kdas": 5, "logits": 10},
            (
                "kdas is worse than logits: Dice -0.162 [-0.282, -0.043], 0.50 times its training time; "
                "of the two take logits."
            ),
        ),
        (
            [LOW + MIXED],
            {"kdas": 20, "logits": 10},
            (
                f"{UNDECIDED}, 2.0 times its training time; "
                f"of the two take logits, which is cheaper, until more seeds tell them apart{ONE}."
            ),
        ),
        (
            [LOW + MIXED],
            {"kdas": 9, "logits": 10},
            (
                f"{UNDECIDED}, 0.90 times its training time; "
                f"of the two take kdas, which is cheaper, until more seeds tell them apart{ONE}."
            ),
        ),
        # Nobody knows what they cost; both seeds agree, so that more of them would tell nothing.
        (
            [LOW + MIXED, LOW + MIXED],
            {},
            f"{UNDECIDED}; of the two take logits until more test patients (4 so far) tell them apart.",
        ),
        # Between seeds 0.005/2 of the variance of the mean, between patients 0.005625/4: 2.21 degrees of freedom.
        (
            [LOW + UP - 0.05, LOW + UP + 0.05],
            {},
            (
                "kdas is not told apart from logits: Dice +0.162 [-0.083, +0.408]; "
                "of the two take logits until more seeds (2 so far) tell them apart."
            ),
        ),
    ],
)
def test_of_two_rungs_one_is_to_be_taken(kdas, minutes, expected):
    scores = table(logits=[LOW] * len(kdas), kdas=kdas)
    assert said(verdicts(PAIR, timed(scores, **minutes))) == [expected]


def test_one_patient_tells_nothing_apart():
    scores = table(logits=[[0.5], [0.5]], kdas=[[0.6], [0.6]])
    (sentence,) = said(verdicts(PAIR, scores))
    assert sentence.endswith(
        "[-inf, +inf]; of the two take logits until more test patients (1 so far) tell them apart."
    )


def test_without_a_common_score_nothing_is_compared():
    scores = table(logits=[[np.nan, 0.5]], kdas=[[0.5, np.nan]])
    expected = "kdas cannot be compared with logits: Dice of both is known of none of the patients."
    assert said(verdicts(PAIR, scores)) == [expected]


TAUGHT = Ladder(
    Path("bundle"),
    {
        "teacher": {"role": "teacher"},
        "alone": {},
        "kd": {"path": READS},
        "kdas": {"path": READS, "more": 1},
        "same": {"path": READS},
    },
    {"kdas": ["alone", "kd"], "teacher": ["alone"]},
)


def taught(teacher, seeds=2):
    scores = table(
        alone=[LOW] * seeds,
        kd=[LOW - 0.01625] * seeds,
        kdas=[LOW + UP / 2] * seeds,
        same=[LOW - 0.0001] * seeds,
        teacher=[teacher] * seeds,
    )
    return timed(scores, teacher=20, alone=10, kd=10, kdas=13)


def test_of_a_teacher_it_says_the_gap_and_who_closes_which_share_of_it():
    *_, sentence = said(verdicts(TAUGHT, taught(LOW + UP)))
    # Of three claims all stand: the last has the level of one.
    assert sentence == (
        f"teacher is better than alone: Dice +0.162 [{_ends(UP)}], 2.0 times its training time; "
        "that is the gap that distillation can close; shares closed, by point estimate: kd -10 %, kdas 50 %, same 0 %."
    )


def test_the_training_of_a_teacher_comes_on_top():
    alone, same, _ = said(verdicts(TAUGHT, taught(LOW + UP)))
    assert ", 1.3 times its training time, with teacher to be trained first; " in alone
    assert "first" not in same  # both need it


def test_what_needs_a_teacher_is_not_the_cheaper_one():
    claimed = replace(TAUGHT, claims={"kdas": ["alone"]})
    scores = timed(table(alone=[LOW], kdas=[LOW + MIXED], teacher=[LOW]), teacher=20, alone=10, kdas=5)
    assert said(verdicts(claimed, scores)) == [
        (
            f"kdas is not told apart from alone: {MIXED_FOUND}, 0.50 times its training time, with teacher to be trained "
            f"first; of the two take alone, which is cheaper, until more seeds tell them apart{ONE}."
        )
    ]


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        (
            LOW + MIXED,
            "not told apart from alone: .*; distillation has no gap to close until more seeds show one" + ONE,
        ),
        (LOW - UP, "worse than alone: .*; alone has nothing to learn from it"),
        (
            LOW + UP,
            f"better than alone: .*; that is the gap that distillation can close if more seeds agree{ONE}; shares",
        ),
    ],
)
def test_a_gap_that_is_none_has_no_shares(teacher, words):
    claimed = replace(TAUGHT, claims={"teacher": ["alone"]})
    assert_matches(verdicts(claimed, taught(teacher, seeds=1)), f"teacher is {words}")


def test_a_baseline_needs_no_training():
    trained = Ladder(
        Path("bundle"),
        {"mil": {"role": "teacher"}},
        {"mil": ["everything"]},
        scores={"dice": "PxAP", "other": "Other"},
        baseline="everything",
    )
    scores = timed(table(everything=[LOW, LOW], mil=[LOW + UP, LOW + UP]), everything=0, mil=12.34)
    assert said(verdicts(trained, scores)) == [
        (
            "mil is better than everything, which needs no training: PxAP +0.162 [+0.043, +0.282], 12.3 minutes of "
            "training; of the two take mil."
        )
    ]
    undecided = timed(table(everything=[LOW], mil=[LOW + MIXED]), everything=0, mil=12.34)
    assert_matches(verdicts(trained, undecided), "mil is not told apart .*; of the two take everything until")


def test_the_sentences_are_about_all_test_sets_and_end_the_tables():
    scores = table(logits=[LOW], kdas=[LOW + UP]).assign(dataset=["A", "A", "B", "B"] * 2)
    text = render(PAIR, scores)
    assert text.count("\n* ") == 1
    assert text.endswith("\n\n" + verdicts(PAIR, scores))
    assert f": {UP_FOUND};" in verdicts(PAIR, scores)


def test_without_claims_there_is_no_sentence():
    assert verdicts(ladder("low"), table(low=[LOW])) == ""


def test_the_minutes_of_a_training_are_a_column_where_somebody_knows():
    lines = render(PAIR, timed(table(logits=[LOW], kdas=[LOW + UP]), kdas=12.34)).splitlines()
    assert lines[2].endswith(" | difference to the rung before [95 % CI] | minutes of training |")
    assert "| logits | 0.550 ± 0.129 |  |  |  |" in lines
    assert any(line.startswith("| kdas |") and line.endswith("] | 12.3 |") for line in lines)
    assert "minutes" not in render(PAIR, table(logits=[LOW], kdas=[LOW + UP]))


def test_rungs_name_the_teacher_that_they_read():
    kdas = load_ladder(BUNDLES / "kdas_polyp_segmentation")
    assert {rung: kdas.reads(rung) for rung in ("teacher", "student_alone", "logits", "kdas_released")} == {
        "teacher": [], "student_alone": [], "logits": ["teacher"], "kdas_released": ["teacher"],
    }  # fmt: skip
    changed, _ = overridden(kdas, ["kdas:teacher_path=/somewhere/teacher/seed0/model.pt"])
    assert changed.reads("kdas") == []
    ikdmil = load_ladder(BUNDLES / "ikdmil_histology_segmentation")
    assert ikdmil.reads("all_foreground") == ikdmil.reads("mil_teacher") == []
    assert ikdmil.reads("role_switch") == ["mil_teacher"]


def assert_matches(text, pattern):
    assert re.search(pattern, text), text


def _ends(gain):
    half = 3.182446 * gain.std(ddof=1) / np.sqrt(len(gain))
    return f"{gain.mean() - half:+.3f}, {gain.mean() + half:+.3f}"


@pytest.mark.parametrize(
    ("kdas", "margin", "expected"),
    [
        ([LOW + UP, LOW + UP], 0.02, f"kdas is not behind logits by more than 0.02: {UP_FOUND}."),
        ([LOW - UP, LOW - UP], 0.02, "kdas is behind logits by more than 0.02: Dice -0.162 [-0.282, -0.043]."),
        ([LOW + MIXED, LOW + MIXED], 0.02, f"kdas may be behind logits by more than 0.02: {MIXED_FOUND}; more test patients (4 so far) would tell."),
        ([LOW + MIXED], 0.25, f"kdas is not behind logits by more than 0.25: {MIXED_FOUND}."),
    ],
)  # fmt: skip
def test_a_margin_is_told_as_such(kdas, margin, expected):
    bounded = replace(ladder("logits", "kdas"), margins={"kdas": {"logits": margin}})
    assert said(verdicts(bounded, table(logits=[LOW] * len(kdas), kdas=kdas))) == [expected]


def test_a_margin_has_its_line_in_the_table():
    bounded = replace(PAIR, margins={"kdas": {"logits": 0.02}})
    text = render(bounded, table(logits=[LOW, LOW], kdas=[LOW + UP, LOW + UP]))
    assert "| kdas − logits | +0.162" in text
    assert "| kdas − logits, margin 0.02 | +0.162 [+0.043, +0.282] | 0.017 | not inferior |" in text


def test_cheaper_is_what_takes_less_with_every_seed():
    """One slow training, beside other programs, decides nothing."""
    scores = table(logits=[LOW] * 3, kdas=[LOW + MIXED] * 3)
    taken = {0: 5, 1: 7, 2: 13}
    scores["minutes"] = np.where(scores["rung"] == "logits", 10, scores["seed"].map(taken))
    assert "of the two take logits until" in said(verdicts(PAIR, scores))[0]
    assert "0.70 times its training time" in said(verdicts(PAIR, scores))[0]
