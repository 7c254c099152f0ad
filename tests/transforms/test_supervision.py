"""What teacher and student may see of an item, for every way to train and every kind of item."""

import pytest
import torch
from monai.data import MetaTensor

from medkd.transforms import SupervisionLabelsd

IMAGE = torch.rand(1, 2, 3, 2)
DENSE = torch.tensor([0, 1, 2, 3, 1, 0, 2, 3, 0, 1, 2, 3]).reshape(1, 2, 3, 2)
SPARSE = torch.where(torch.arange(12).reshape(1, 2, 3, 2) % 4 == 0, DENSE, 255)
NOTHING = torch.full_like(DENSE, 255)


def item(told, **changes):
    return {"image": IMAGE, "label": DENSE, "weak_label": SPARSE, "supervision": told, "patient": "p1"} | changes


def name(label):
    """Which of the three labels this is."""
    return next(n for n, x in {"dense": DENSE, "sparse": SPARSE, "nothing": NOTHING}.items() if torch.equal(x, label))


def seen(found):
    return name(found["label"]), name(found["weak_label"]), found["strong"]


# supervision, what the item is -> what the teacher sees, whether it counts as strong
TEACHER = {
    ("mixed", "strong"): ("dense", True),
    ("mixed", "weak"): ("sparse", False),
    ("mixed", "none"): ("nothing", False),
    ("weak", "strong"): ("sparse", False),
    ("weak", "weak"): ("sparse", False),
    ("weak", "none"): ("nothing", False),
    ("strong", "strong"): ("dense", True),
    ("strong", "weak"): ("nothing", False),
    ("strong", "none"): ("nothing", False),
    ("full", "strong"): ("dense", True),
    ("full", "weak"): ("dense", True),
    ("full", "none"): ("dense", True),
}


@pytest.mark.parametrize(("supervision", "told"), TEACHER)
def test_a_student_that_sees_the_label_sees_what_the_teacher_sees(supervision, told):
    label, strong = TEACHER[supervision, told]
    found = SupervisionLabelsd(supervision=supervision, student_sees="label")(item(told))
    assert seen(found) == (label, label, strong)


@pytest.mark.parametrize(("supervision", "told"), TEACHER)
def test_a_student_that_sees_the_weak_label_never_sees_more(supervision, told):
    label, strong = TEACHER[supervision, told]
    found = SupervisionLabelsd(supervision=supervision, student_sees="weak_label")(item(told))
    unseen = told == "none" or (supervision, told) == ("strong", "weak")
    assert seen(found) == (label, "nothing" if unseen else "sparse", strong)


def test_without_a_weak_label_the_dense_one_takes_its_place():
    strong = item("strong")
    del strong["weak_label"]
    assert seen(SupervisionLabelsd(student_sees="weak_label")(strong)) == ("dense", "dense", True)
    # but not where sparse labels alone are asked for: the rung "weak only" would learn from every full mask
    assert seen(SupervisionLabelsd(supervision="weak")(strong)) == ("nothing", "nothing", False)


@pytest.mark.parametrize("supervision", ["mixed", "weak", "strong"])
def test_an_image_without_a_label_has_nothing_annotated_and_is_weak(supervision):
    found = SupervisionLabelsd(supervision=supervision)({"image": MetaTensor(IMAGE)})
    assert found["strong"] is False
    for key in ("label", "weak_label"):
        assert found[key].shape == IMAGE.shape
        assert (found[key] == 255).all()


def test_a_label_of_an_image_with_channels_has_one_channel():
    found = SupervisionLabelsd()({"image": torch.rand(3, 4, 5)})
    assert found["label"].shape == (1, 4, 5)


@pytest.mark.parametrize(("label", "strong"), [(DENSE, True), (SPARSE, False)])
def test_without_being_told_an_image_is_strong_if_no_pixel_is_ignored(label, strong):
    found = SupervisionLabelsd()({"image": IMAGE, "label": label})
    assert seen(found) == (name(label), name(label), strong)


def test_values_that_mean_unannotated_become_the_ignored_one():
    transform = SupervisionLabelsd(unannotated_values=[4, 9])
    weak = torch.where(SPARSE == 255, 4, SPARSE)
    weak[0, 0, 0, 1] = 9
    given = weak.clone()
    assert seen(transform(item("weak", weak_label=weak))) == ("sparse", "sparse", False)
    assert torch.equal(weak, given)
    assert seen(transform({"image": IMAGE, "label": weak})) == ("sparse", "sparse", False)
    assert seen(transform({"image": IMAGE, "label": DENSE})) == ("dense", "dense", True)


def test_another_ignore_index_is_written_and_read():
    transform = SupervisionLabelsd(ignore_index=7)
    found = transform({"image": IMAGE, "label": SPARSE})
    assert found["strong"] is False
    assert torch.equal(found["label"], torch.where(SPARSE == 255, 7, SPARSE))
    assert (transform({"image": IMAGE})["label"] == 7).all()


def test_other_keys_are_used_and_the_item_given_is_left_alone():
    transform = SupervisionLabelsd("mask", image_key="scan", weak_key="scribble", student_sees="weak_label")
    given = {"scan": IMAGE, "mask": DENSE, "scribble": SPARSE, "supervision": "strong", "patient": "p1"}
    before = dict(given)
    found = transform(given)
    assert torch.equal(found["mask"], DENSE)
    assert torch.equal(found["scribble"], SPARSE)
    assert found["patient"] == "p1"
    assert given == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"supervision": "some"}, r"""supervision must be "mixed", "weak", "strong" or "full", got 'some'"""),
        ({"student_sees": "both"}, r"""student_sees must be "label" or "weak_label", got 'both'"""),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SupervisionLabelsd(**options)


def test_an_unknown_supervision_of_an_item_is_refused_with_the_images_name():
    with pytest.raises(ValueError, match=r"""must be "strong", "weak" or "none", got 'partly' for scan7.nii"""):
        SupervisionLabelsd(image_key="pixels")(item("partly", image="scan7.nii", pixels=IMAGE))
