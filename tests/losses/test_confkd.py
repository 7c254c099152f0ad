"""ConfKD's terms against recorded reference numbers, and at the edges of what a batch may hold."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medkd.losses import ConfKDLoss
from medkd.networks import DualBranchOutput

TERMS = ("ce", "pce", "kl", "entropy")
REFERENCE = Path(__file__).parents[1] / "reference" / "confkd.npz"


@pytest.fixture(scope="module")
def reference():
    with np.load(REFERENCE) as content:
        return {key: torch.as_tensor(content[key]) for key in content.files}


def relative(found, expected):
    """Largest error in units of the largest expected value."""
    found, expected = torch.as_tensor(found).double(), torch.as_tensor(expected).double()
    return ((found - expected).abs().max() / expected.abs().max()).item()


def paper_case(reference, dim):
    """Output (leaf tensors with gradients), batch and the recorded values."""
    group = {k.split("/")[1]: v for k, v in reference.items() if k.startswith(f"confkd_paper_{dim}/")}
    output = DualBranchOutput(*(group[k].clone().requires_grad_() for k in ("teacher", "student")))
    return output, {k: group[k] for k in ("label", "weak_label", "strong")}, group


def released_case(reference):
    group = {k.split("/")[1]: v for k, v in reference.items() if k.startswith("confkd/")}
    teacher, full, weak = (group[k].double().requires_grad_() for k in ("top", "bottom_full", "bottom_weak"))
    seeds = torch.cat([group["seeds_full"], group["seeds_weak"]])[:, None]
    batch = {
        "label": torch.cat([group["labels"], torch.full((5, 24, 24), 255)])[:, None],
        "weak_label": torch.where(seeds == 1, 1, 255),
        "strong": torch.arange(8) < 3,
    }
    return (teacher, full, weak), batch, group


def paper_loss(**options):
    return ConfKDLoss(**{"pce_weight": 0.1, "kl_weight": 50, "entropy_weight": 1, "temperature": 2} | options)


def random_case(strong=(True, False), classes=3, dtype=torch.float32, scale=1.0):
    """A batch whose weak images are annotated in their left half."""
    rng, batch = torch.Generator().manual_seed(3), len(strong)
    teacher, student = (
        (scale * torch.randn(batch, classes, 6, 8, generator=rng)).to(dtype).requires_grad_() for _ in range(2)
    )
    label = torch.randint(0, classes, (batch, 1, 6, 8), generator=rng)
    for image, dense in enumerate(strong):
        if not dense:
            label[image, ..., 4:] = 255
    return DualBranchOutput(teacher, student), {"label": label, "strong": torch.tensor(strong, dtype=torch.bool)}


@pytest.mark.parametrize("dim", ["2d", "3d"])
def test_paper_terms_and_total_agree_with_the_reference(reference, dim):
    output, batch, expected = paper_case(reference, dim)
    found = paper_loss()(output, batch)
    errors = {name: relative(found[name], expected[name]) for name in (*TERMS, "loss")}
    assert max(errors.values()) < 1e-5, errors


@pytest.mark.parametrize("dim", ["2d", "3d"])
def test_paper_gradients_agree_with_the_reference(reference, dim):
    output, batch, expected = paper_case(reference, dim)
    paper_loss()(output, batch)["loss"].backward()
    assert relative(output.teacher.grad, expected["grad_teacher"]) < 1e-5
    assert relative(output.student.grad, expected["grad_student"]) < 1e-5


@pytest.mark.parametrize("dim", ["2d", "3d"])
@pytest.mark.parametrize("term", ["kl", "entropy"])
def test_terms_on_all_images_agree_with_the_reference(reference, dim, term):
    output, batch, expected = paper_case(reference, dim)
    found = paper_loss(**{f"{term}_on": "all"})(output, batch)
    assert relative(found[term], expected[f"{term}_on_all"]) < 1e-5
    other = "entropy" if term == "kl" else "kl"
    assert relative(found[other], expected[other]) < 1e-5


def test_kl_on_weak_and_entropy_on_strong_are_what_is_left_of_all(reference):
    """A mean over all images is the mean of the two groups' means, weighted by their sizes (2 and 3 of 5)."""
    output, batch, expected = paper_case(reference, "2d")
    found = paper_loss(kl_on="weak", entropy_on="strong")(output, batch)
    assert relative((2 * expected["kl"] + 3 * found["kl"]) / 5, expected["kl_on_all"]) < 1e-5
    assert relative((3 * expected["entropy"] + 2 * found["entropy"]) / 5, expected["entropy_on_all"]) < 1e-5


def test_released_terms_and_total_agree_with_the_reference(reference):
    (teacher, full, weak), batch, expected = released_case(reference)
    found = ConfKDLoss(variant="released")(DualBranchOutput(teacher, torch.cat([full, weak])), batch)
    errors = {name: relative(found[name], expected[name]) for name in ("ce", "kl", "entropy")}
    errors["pce"] = relative(found["pce"], expected["pce_full"] + expected["pce_weak"])
    errors["loss"] = relative(found["loss"], expected["total"])
    assert max(errors.values()) < 1e-5, errors


def test_released_gradients_agree_with_the_reference(reference):
    leaves, batch, expected = released_case(reference)
    teacher, full, weak = leaves
    ConfKDLoss(variant="released")(DualBranchOutput(teacher, torch.cat([full, weak])), batch)["loss"].backward()
    for leaf, name in zip(leaves, ("top", "bottom_full", "bottom_weak"), strict=True):
        assert relative(leaf.grad, expected[f"grad_{name}"]) < 1e-5, name  # the reference is float32


def test_released_variant_refuses_a_strong_image_with_ignored_pixels(reference):
    (teacher, full, weak), batch, _ = released_case(reference)
    batch["label"][0, 0, 0, 0] = 255
    with pytest.raises(ValueError, match=r"every pixel of a strong image to be annotated, found some ignored"):
        ConfKDLoss(variant="released")(DualBranchOutput(teacher, torch.cat([full, weak])), batch)


def test_released_variant_refuses_more_than_two_classes():
    output, batch = random_case()
    with pytest.raises(ValueError, match=r'variant="released" is defined for 2 classes, got logits with 3'):
        ConfKDLoss(variant="released")(output, batch)


@pytest.mark.parametrize("strong", [(True, True), (False, False)])
def test_released_variant_is_finite_without_weak_or_strong_images(strong):
    output, batch = random_case(strong, classes=2)
    found = ConfKDLoss(variant="released")(output, batch)
    found["loss"].backward()
    assert all(torch.isfinite(value) for value in found.values())
    assert torch.isfinite(output.student.grad).all()
    assert (found["ce"] == 0) == (not any(strong))


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_a_teacher_with_the_strong_images_alone_gives_the_same(variant):
    strong = (False, True, False, True)
    output, batch = random_case(strong, classes=2)
    loss = ConfKDLoss(variant=variant)
    complete = loss(output, batch)
    partial = loss(DualBranchOutput(output.teacher[torch.tensor(strong)], output.student), batch)
    assert complete.keys() == partial.keys()
    for name, value in complete.items():
        assert partial[name].item() == value.item(), name


@pytest.mark.parametrize(("variant", "weights"), [("paper", (1.0, 0.3, 1.0, 0.1)), ("released", (1.0, 0.1, 50.0, 1.0))])
def test_the_default_weights_are_the_variants_and_make_up_the_total(variant, weights):
    loss = ConfKDLoss(variant=variant)
    assert (loss.ce_weight, loss.pce_weight, loss.kl_weight, loss.entropy_weight) == weights
    found = loss(*random_case(classes=2))
    total = sum(w * found[name].item() for w, name in zip(weights, TERMS, strict=True))
    assert found["loss"].item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("name", TERMS)
def test_a_weight_multiplies_its_own_term(name):
    output, batch = random_case()
    weights = {f"{term}_weight": 3.0 if term == name else 0.0 for term in TERMS}
    found = ConfKDLoss(**weights)(output, batch)
    assert found["loss"].item() == pytest.approx(3 * found[name].item(), rel=1e-6)
    assert found[name].item() > 0


def test_terms_are_detached_and_the_total_is_not():
    found = ConfKDLoss()(*random_case())
    assert found["loss"].requires_grad
    assert not any(found[name].requires_grad for name in TERMS)


def test_the_teacher_does_not_learn_from_the_divergence():
    output, batch = random_case()
    ConfKDLoss(ce_weight=0, pce_weight=0, entropy_weight=0, kl_weight=1)(output, batch)["loss"].backward()
    assert output.teacher.grad is None or not output.teacher.grad.any()
    assert output.student.grad[0].any()
    assert not output.student.grad[1].any()


@pytest.mark.parametrize(
    ("strong", "annotated", "zero"),
    [
        ((False, False), True, {"ce", "kl"}),
        ((True, True), True, {"entropy"}),
        ((True, False), False, {"ce", "pce"}),
        ((False, False), False, {"ce", "pce", "kl"}),
    ],
    ids=["no strong", "no weak", "no annotated pixel", "nothing but images"],
)
def test_terms_without_pixels_are_zero_and_gradients_are_finite(strong, annotated, zero):
    output, batch = random_case(strong)
    if not annotated:
        batch["label"] = torch.full_like(batch["label"], 255)
    found = ConfKDLoss()(output, batch)
    found["loss"].backward()
    assert {name for name in TERMS if found[name] == 0} == zero
    assert torch.isfinite(output.student.grad).all()
    assert output.teacher.grad is None or torch.isfinite(output.teacher.grad).all()


def test_an_empty_teacher_is_fine_without_strong_images():
    output, batch = random_case((False, False))
    found = ConfKDLoss()(DualBranchOutput(output.student[:0], output.student), batch)
    found["loss"].backward()
    assert found["ce"] == 0
    assert found["kl"] == 0
    assert torch.isfinite(output.student.grad).all()


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize(("dtype", "scale"), [(torch.float16, 2e4), (torch.bfloat16, 1e30)])
def test_huge_low_precision_logits_stay_finite(variant, dtype, scale):
    output, batch = random_case(classes=2, dtype=dtype, scale=scale)
    assert output.student.abs().max() > scale
    assert torch.isfinite(output.student).all()
    found = ConfKDLoss(variant=variant)(output, batch)
    assert found["loss"].dtype == torch.float32
    found["loss"].backward()
    assert all(torch.isfinite(value) for value in found.values()), found
    assert torch.isfinite(output.teacher.grad).all()
    assert torch.isfinite(output.student.grad).all()


def test_without_flags_the_images_without_an_ignored_pixel_are_strong():
    output, batch = random_case((True, False, True))
    derived = ConfKDLoss()(output, {"label": batch["label"]})
    given = ConfKDLoss()(output, batch)
    assert {k: v.item() for k, v in derived.items()} == {k: v.item() for k, v in given.items()}


def test_another_ignore_index_is_left_out():
    output, batch = random_case()
    expected = ConfKDLoss()(output, batch)
    batch["label"] = torch.where(batch["label"] == 255, -1, batch["label"])
    found = ConfKDLoss(ignore_index=-1)(output, batch)
    assert {k: v.item() for k, v in found.items()} == {k: v.item() for k, v in expected.items()}


def test_the_student_sees_the_weak_label_and_the_teacher_the_label():
    output, batch = random_case()
    plain = ConfKDLoss()(output, batch)
    hidden = ConfKDLoss()(output, batch | {"weak_label": torch.full_like(batch["label"], 255)})
    assert hidden["pce"] == 0
    assert plain["pce"] > 0
    assert hidden["ce"].item() == plain["ce"].item()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "best"}, r'variant.*"?paper'),
        ({"kl_on": "some"}, "kl_on"),
        ({"entropy_on": "none"}, "entropy_on"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": -1.0}, "temperature"),
        ({"kl_weight": -1}, r"weights \(ce, pce, kl, entropy\) must be >= 0, got \[1.0, 0.3, -1.0, 0.1\]"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ConfKDLoss(**options)


@pytest.mark.parametrize("key", ["label", "weak_label"])
def test_labels_that_do_not_fit_the_logits_are_refused(key):
    output, batch = random_case()
    batch[key] = torch.zeros(2, 6, 8, dtype=torch.long)
    with pytest.raises(
        ValueError, match=rf'batch\["{key}"\] must be \[2, 1, 6, 8\] to fit the logits, got \[2, 6, 8\]'
    ):
        ConfKDLoss()(output, batch)


def test_one_flag_per_image_is_required():
    output, batch = random_case()
    batch["strong"] = torch.tensor([True, False, True])
    with pytest.raises(ValueError, match=r'batch\["strong"\] must have one flag per image \(2\), got 3'):
        ConfKDLoss()(output, batch)


@pytest.mark.parametrize("kl_on", ["weak", "all"])
def test_a_teacher_without_the_images_that_kl_on_needs_is_refused(kl_on):
    output, batch = random_case((True, False, False))
    short = DualBranchOutput(output.teacher[:1], output.student)
    with pytest.raises(ValueError, match=rf'with kl_on="{kl_on}" the teacher logits must be \[3 or 3, 3, 6, 8\], got'):
        ConfKDLoss(kl_on=kl_on)(short, batch)


@pytest.mark.parametrize("teacher", [torch.zeros(2, 3, 6, 8), torch.zeros(3, 4, 6, 8), torch.zeros(1, 3, 3, 4)])
def test_teacher_logits_of_another_shape_are_refused(teacher):
    output, batch = random_case((True, False, False))
    with pytest.raises(ValueError, match=r"must be \[1 or 3, 3, 6, 8\], got \["):
        ConfKDLoss()(DualBranchOutput(teacher, output.student), batch)
