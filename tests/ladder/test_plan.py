"""Reading the ladder of a bundle."""

import shutil
from dataclasses import replace

import pytest

from medkd.datasets import write_datalist
from medkd.ladder import load_ladder


def test_all_rungs_in_order_with_their_overrides(fake_bundle):
    ladder = load_ladder(fake_bundle)
    assert list(ladder.rungs) == ["low", "middle", "high", "broken"]
    assert ladder.rungs["high"] == {"gain": 0.7}
    assert ladder.rungs["middle"] == {}
    assert ladder.claims == {"high": ["low", "broken"], "broken": ["low"]}
    assert (ladder.branch, ladder.scores) == ("student", {"dice": "Dice"})
    assert ladder.bundle == fake_bundle.resolve()


@pytest.mark.parametrize(("unit", "units"), [("patient", "sequences"), ("case", "frames")])
def test_a_dataset_says_what_its_patients_are(unit, units, fake_bundle, tmp_path):
    ladder = replace(load_ladder(fake_bundle), unit=unit, units="frames", groups="whoever they are")
    write_datalist(tmp_path / "datalist.json", {"patients": "sequences"})
    told = ladder.told_by(tmp_path)
    assert (told.units, told.groups) == (units, "sequences")
    write_datalist(tmp_path / "datalist.json", {})
    assert ladder.told_by(tmp_path).groups == "whoever they are"


def test_a_selection_keeps_its_rungs_and_the_claims_among_them(fake_bundle):
    ladder = load_ladder(str(fake_bundle), ["pair"])
    assert list(ladder.rungs) == ["low", "high"]
    assert ladder.claims == {"high": ["low"]}


def test_rungs_may_be_named_one_by_one(fake_bundle):
    assert list(load_ladder(fake_bundle, ["high", "middle"]).rungs) == ["high", "middle"]
    assert list(load_ladder(fake_bundle, ["low"]).rungs) == ["low"]


def test_every_unknown_rung_is_named(fake_bundle):
    with pytest.raises(
        ValueError,
        match=r"ladder\.yaml: unknown rung 'top'; there are low, middle, high, broken, and the selections good, pair; unknown rung 'bottom'",
    ):
        load_ladder(fake_bundle, ["top", "low", "bottom"])


def test_an_override_that_the_training_lacks_is_refused(fake_bundle, tmp_path):
    bundle = shutil.copytree(fake_bundle, tmp_path / "bundle")
    (bundle / "configs" / "ladder.yaml").write_text("rungs: {low: {gian: 0.3}, high: {gain: 1}}\n")
    with pytest.raises(ValueError, match=r"rung 'low': unknown key 'gian', did you mean 'gain'\?"):
        load_ladder(bundle, ["high"])


def test_a_bundle_without_a_ladder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"ladder\.yaml: expected the rungs of a bundle, found nothing there"):
        load_ladder(tmp_path)


def test_margins_are_kept_with_their_rungs_and_are_numbers(fake_bundle, tmp_path):
    bundle = shutil.copytree(fake_bundle, tmp_path / "bundle")
    text = "rungs: {low: {}, high: {gain: 1}}\nmargins: {high: {low: 0.02}, low: {high: 0.1}}\n"
    (bundle / "configs" / "ladder.yaml").write_text(text)
    assert load_ladder(bundle).bounds == {("high", "low"): 0.02, ("low", "high"): 0.1}
    assert load_ladder(bundle, ["high"]).bounds == {}
    (bundle / "configs" / "ladder.yaml").write_text(text.replace("0.02", "-1").replace("0.1", "some"))
    with pytest.raises(ValueError, match=r"'high' to 'low': expected a number > 0, found -1; .* found 'some'"):
        load_ladder(bundle)


def test_a_claim_of_a_rung_that_there_is_not_is_refused(fake_bundle, tmp_path):
    bundle = shutil.copytree(fake_bundle, tmp_path / "bundle")
    text = "rungs: {low: {}, high: {gain: 1}}\nclaims: {high: [lwo]}\nmargins: {hihg: {low: 0.02}}\n"
    (bundle / "configs" / "ladder.yaml").write_text(text)
    with pytest.raises(ValueError, match="unknown rung 'hihg'; there are low, high; claim of an unknown rung 'lwo'"):
        load_ladder(bundle)


def test_a_selection_may_be_the_default(fake_bundle, tmp_path):
    bundle = shutil.copytree(fake_bundle, tmp_path / "bundle")
    path = bundle / "configs" / "ladder.yaml"
    path.write_text(
        "rungs: {low: {gain: 0.3}, high: {gain: 1}, told: {evaluated_by: told.yaml}}\nselections: {default: [low, high]}\n"
    )
    assert list(load_ladder(bundle).rungs) == ["low", "high"]
    assert load_ladder(bundle, ["told"]).rungs == {"told": {"evaluated_by": "told.yaml"}}
