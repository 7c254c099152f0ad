"""KDAS's terms against recorded reference numbers, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medkd.losses import KDASLoss, StructureLoss
from medkd.losses.kdas import self_attention, symmetric
from medkd.networks import PolypPVTOutput

REFERENCE = Path(__file__).parents[1] / "reference" / "kdas.npz"
TERMS = {"structure", "attention", "symmetric", "logits"}


@pytest.fixture(scope="module")
def reference():
    with np.load(REFERENCE) as content:
        return {key: torch.as_tensor(content[key]).double() for key in content.files}


def group(reference, name):
    return {key.split("/")[1]: value.clone() for key, value in reference.items() if key.startswith(f"{name}/")}


def maps(height=32, width=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, 1, height, width, generator=generator, requires_grad=True) for _ in range(2))


def mask(height=32, width=32):
    square = torch.zeros(2, 1, height, width)
    square[..., 8:20, 8:24] = 1
    return square


@pytest.mark.parametrize("shape", ["square", "wide"])
def test_paper_terms_agree_with_the_reference(reference, shape):
    case = group(reference, f"kdas_paper_{shape}")
    found = KDASLoss()((case["s1"], case["s2"]), {"label": case["mask"]}, (case["t1"], case["t2"]))
    for name in TERMS & case.keys():
        torch.testing.assert_close(found[name], case[name], rtol=1e-5, atol=0)
    assert TERMS - {"symmetric", "logits"} <= case.keys()


def test_paper_total_and_gradients_agree_with_the_reference(reference):
    case = group(reference, "kdas_paper_square")
    student = [case[key].requires_grad_() for key in ("s1", "s2")]
    loss = KDASLoss()(tuple(student), {"label": case["mask"]}, (case["t1"], case["t2"]))["loss"]
    torch.testing.assert_close(loss, case["loss"], rtol=1e-5, atol=0)
    loss.backward()
    for logits, key in zip(student, ("grad_s1", "grad_s2"), strict=True):
        torch.testing.assert_close(logits.grad, case[key], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("variant", "name"), [("paper", "structure"), ("released", "structure_released")])
@pytest.mark.parametrize("number", [1, 2])
def test_structure_loss_agrees_with_the_reference(reference, variant, name, number):
    case = group(reference, "kdas")
    found = StructureLoss(variant=variant)(case[f"p{number}"], case["mask"])
    torch.testing.assert_close(found, case[f"{name}_p{number}"], rtol=1e-5, atol=0)


def test_released_total_and_gradients_agree_with_the_reference(reference):
    case = group(reference, "kdas")
    student = [case[key].requires_grad_() for key in ("p1", "p2")]
    found = KDASLoss(variant="released")(tuple(student), {"label": case["mask"]}, (case["t1"], case["t2"]))
    torch.testing.assert_close(found["loss"], case["total_released_without_nan_kd"], rtol=1e-5, atol=0)
    torch.testing.assert_close(found["symmetric"], case["sgm_p1"], rtol=1e-5, atol=0)
    found["loss"].backward()
    for logits, key in zip(student, ("grad_p1", "grad_p2"), strict=True):
        torch.testing.assert_close(logits.grad, case[key], rtol=1e-5, atol=1e-7)


def test_attention_has_a_gradient_and_the_released_one_has_none():
    teacher = maps(seed=1)
    student = maps()
    alone = {"alpha": 1.0, "symmetric_weight": 0.0}
    KDASLoss(**alone)(student, {"label": mask()}, teacher)["loss"].backward()
    assert all(logits.grad.abs().max() > 0 for logits in student)
    student = maps()
    found = KDASLoss(variant="released", **alone)(student, {"label": mask()}, teacher)
    assert "attention" not in found
    found["loss"].backward()
    assert all(logits.grad.abs().max() == 0 for logits in student)


def test_the_teacher_gets_no_gradient():
    teacher = maps(seed=1)
    KDASLoss(logit_weight=1.0)(maps(), {"label": mask()}, teacher)["loss"].backward()
    assert all(logits.grad is None for logits in teacher)


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_a_student_that_is_its_teacher_has_nothing_to_follow(variant):
    student = maps()
    found = KDASLoss(variant=variant, logit_weight=1.0)(student, {"label": mask()}, student)
    assert set(found) == {"loss", *TERMS} - ({"attention"} if variant == "released" else set())
    assert max(found[name].abs().item() for name in ("attention", "symmetric", "logits") if name in found) < 1e-6
    torch.testing.assert_close(found["loss"].detach(), 0.7 * found["structure"])


def test_maps_that_are_not_square_are_trained_with_all_terms():
    found = KDASLoss(logit_weight=1.0)(maps(32, 64), {"label": mask(32, 64)}, maps(32, 64, seed=1))
    assert all(found[name] > 0 for name in TERMS)
    assert symmetric(maps(32, 64)[0]).shape == (2, 1, 32, 32)


def test_logit_term_is_the_divergence_of_background_and_foreground():
    teacher, student = torch.tensor([[[[2.0]]]]), torch.tensor([[[[-1.0]]]])
    found = KDASLoss(alpha=1, attention_weight=0, logit_weight=1, single_map=True, temperature=1)(
        student, {"label": torch.ones(1, 1, 1, 1)}, teacher
    )
    p, q = torch.sigmoid(teacher), torch.sigmoid(student)
    expected = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).squeeze()
    torch.testing.assert_close(found["loss"], expected)


def test_networks_of_one_map_drop_the_symmetric_term():
    found = KDASLoss(single_map=True)(maps()[0], {"label": mask()}, maps(seed=1)[0])
    assert "symmetric" not in found
    assert found["attention"] > 0


def test_without_distillation_no_teacher_is_needed():
    found = KDASLoss(alpha=0)(maps(), {"label": mask()})
    torch.testing.assert_close(found["loss"].detach(), found["structure"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite_and_close(dtype):
    student, teacher = (tuple((30 * z).detach() for z in maps(seed=s)) for s in (0, 1))
    full = KDASLoss(logit_weight=1.0)(student, {"label": mask()}, teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = KDASLoss(logit_weight=1.0)(
            tuple(z.to(dtype) for z in student), {"label": mask()}, tuple(z.to(dtype) for z in teacher)
        )
    for name in (*TERMS, "loss"):
        assert torch.isfinite(half[name])
        torch.testing.assert_close(half[name], full[name], rtol=0.1, atol=0.05)


def test_self_attention_of_constant_rows_is_their_mean():
    x = torch.tensor([2.0, -1.0]).expand(1, 1, 4, 2)
    torch.testing.assert_close(self_attention(x), x)


@pytest.mark.parametrize(
    ("options", "student", "teacher", "message"),
    [
        ({}, maps(), None, r"expected the teacher's output for alpha > 0, got None"),
        ({}, maps()[0], maps(), r"expected two maps .* of the student .*got \[\(2, 1, 32, 32\)\]"),
        ({"single_map": True}, maps()[0], maps(), r"expected one map .* of the teacher"),
        (
            {},
            maps(),
            maps(64, 64),
            r"maps of one size from teacher and student, got \(2, 1, 64, 64\) and \(2, 1, 32, 32\)",
        ),
        (
            {},
            maps(64, 64),
            maps(64, 64),
            r"expected a mask of the logits' shape \(2, 1, 64, 64\), got \(2, 1, 32, 32\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options, student, teacher, message):
    with pytest.raises(ValueError, match=message):
        KDASLoss(**options)(student, {"label": mask()}, teacher)


@pytest.mark.parametrize(
    "options", [{"alpha": 1.5}, {"temperature": 0}, {"attention_weight": -1}, {"variant": "other"}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=r"expected alpha in|variant must be"):
        KDASLoss(**options)


def test_with_a_single_map_the_prediction_of_a_network_of_two_is_taken():
    one, two = torch.randn(2, 1, 32, 32), PolypPVTOutput(torch.randn(2, 1, 32, 32), torch.randn(2, 1, 32, 32))
    batch, loss = {"label": (torch.rand(2, 1, 32, 32) > 0.5).float()}, KDASLoss(single_map=True, logit_weight=1.0)
    for student, teacher in ((one, two), (two, one)):
        plain = [getattr(maps, "prediction", maps) for maps in (student, teacher)]
        found, expected = loss(student, batch, teacher), loss(plain[0], batch, plain[1])
        assert found["attention"] > 0
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_released_variant_has_nothing_for_a_single_map():
    with pytest.raises(ValueError, match="expected single_map=False with the released variant"):
        KDASLoss(variant="released", single_map=True)


def test_a_frame_without_a_mask_takes_the_teachers_probability():
    student, teacher, label = maps(), maps(seed=1), mask()
    label[1] = 255  # nothing is known of the second frame
    own = label.clone()
    own[1] = 1 / (1 + torch.exp(-(teacher[0][1] + teacher[1][1]).detach()))
    options = {"attention_weight": 0.0, "symmetric_weight": 0.0}
    found = KDASLoss(**options)(student, {"label": label, "strong": torch.tensor([True, False])}, teacher)
    assert found["structure"] == KDASLoss(**options)(student, {"label": own}, teacher)["structure"]
    assert found["loss"].item() == pytest.approx(0.7 * found["structure"].item(), rel=1e-5)


def test_a_frame_without_a_mask_is_left_out_where_there_is_no_teacher():
    student, label = maps(), mask()
    label[1] = 255
    found = KDASLoss(alpha=0)(student, {"label": label, "strong": torch.tensor([True, False])})["loss"]
    first = KDASLoss(alpha=0)(tuple(z[:1] for z in student), {"label": label[:1]})["loss"]
    assert found == first
    found.backward()
    assert not student[0].grad[1].any()


def test_the_flag_changes_nothing_where_every_frame_has_a_mask():
    student, teacher = maps(), maps(seed=1)
    flagged = KDASLoss()(student, {"label": mask(), "strong": torch.tensor([True, True])}, teacher)
    assert flagged == KDASLoss()(student, {"label": mask()}, teacher)


def test_a_batch_that_teaches_nothing_is_refused():
    with pytest.raises(ValueError, match="expected a frame with a mask in every batch without a teacher"):
        KDASLoss(alpha=0)(maps(), {"label": mask(), "strong": torch.tensor([False, False])})
