"""The losses of ConfKD's peers, against NumPy pixel by pixel, and at the edges of what a batch may hold."""

import numpy as np
import pytest
import torch

from medkd.losses import CrossPseudoLoss, MeanTeacherLoss
from medkd.networks import DualBranchOutput

LOSSES = [MeanTeacherLoss, CrossPseudoLoss]


def case(shape=(5, 6), dtype=torch.float64, scale=1.0):
    """Logits with gradients; the first image is dense, the second has few annotated pixels, the third none."""
    rng = torch.Generator().manual_seed(5)
    teacher, student = (
        (scale * torch.randn(3, 4, *shape, generator=rng, dtype=torch.float64)).to(dtype).requires_grad_()
        for _ in range(2)
    )
    label = torch.randint(0, 4, (3, 1, *shape), generator=rng)
    label[1, ..., 2:] = 255
    label[2] = 255
    return DualBranchOutput(teacher, student), {"label": label}


def probabilities(logits):
    """``[pixels, K]``, by the definition."""
    values = np.moveaxis(logits.detach().double().numpy(), 1, -1)
    values = np.exp(values.reshape(-1, values.shape[-1]))
    return values / values.sum(axis=1, keepdims=True)


def surprise(p, classes):
    """Mean of -log p over the pixels that have a class."""
    told = [(row, k) for row, k in zip(p, classes, strict=True) if k != 255]
    return -np.mean([np.log(row[k]) for row, k in told])


@pytest.mark.parametrize("shape", [(5, 6), (4, 3, 5)], ids=["2D", "3D"])
def test_mean_teacher_by_its_definition(shape):
    output, batch = case(shape)
    found = MeanTeacherLoss(kl_weight=7.0)(output, batch)
    teacher, student = map(probabilities, output)
    consistency = np.mean([(a - b) ** 2 for a, b in zip(teacher.ravel(), student.ravel(), strict=True)])
    pce = surprise(student, batch["label"].numpy().ravel())
    assert found["consistency"].item() == pytest.approx(consistency, rel=1e-9)
    assert found["pce"].item() == pytest.approx(pce, rel=1e-9)
    assert found["loss"].item() == pytest.approx(pce + 7 * consistency, rel=1e-9)


@pytest.mark.parametrize("shape", [(5, 6), (4, 3, 5)], ids=["2D", "3D"])
def test_cross_pseudo_supervision_by_its_definition(shape):
    output, batch = case(shape)
    found = CrossPseudoLoss(kl_weight=0.5)(output, batch)
    second, first = map(probabilities, output)
    classes = batch["label"].numpy().ravel()
    pce = surprise(first, classes) + surprise(second, classes)
    consistency = surprise(first, second.argmax(axis=1)) + surprise(second, first.argmax(axis=1))
    assert found["pce"].item() == pytest.approx(pce, rel=1e-9)
    assert found["consistency"].item() == pytest.approx(consistency, rel=1e-9)
    assert found["loss"].item() == pytest.approx(pce + consistency / 2, rel=1e-9)


def test_the_gradient_of_cross_pseudo_supervision_is_that_of_two_fixed_targets():
    """Per network and pixel: (p - one-hot of the other's class) / pixels, and the same of the annotated ones."""
    output, batch = case()
    CrossPseudoLoss(kl_weight=2.0)(output, batch)["loss"].backward()
    classes = batch["label"].numpy().ravel()
    told = classes != 255
    for own, other in (output, output[::-1]):
        p, goal = probabilities(own), probabilities(other).argmax(axis=1)
        expected = 2 * (p - np.eye(4)[goal]) / len(p)
        expected[told] += (p[told] - np.eye(4)[classes[told]]) / told.sum()
        found = np.moveaxis(own.grad.numpy(), 1, -1).reshape(-1, 4)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_average_does_not_learn_and_the_student_does_where_nothing_is_annotated():
    output, batch = case()
    MeanTeacherLoss()(output, batch)["loss"].backward()
    assert output.teacher.grad is None
    assert output.student.grad[2].any()


@pytest.mark.parametrize("loss", LOSSES)
def test_terms_are_detached_and_without_annotated_pixels_all_is_finite(loss):
    output, batch = case()
    found = loss()(output, {"label": torch.full_like(batch["label"], 255)})
    found["loss"].backward()
    assert found["pce"] == 0
    assert found["consistency"] > 0
    assert not found["pce"].requires_grad
    assert not found["consistency"].requires_grad
    assert torch.isfinite(output.student.grad).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_weight_is_an_attribute_that_a_ramp_up_may_set(loss):
    output, batch = case()
    risen = loss(kl_weight=3.0)
    risen.kl_weight = 0.0
    found = risen(output, batch)
    assert found["loss"].item() == found["pce"].item()


@pytest.mark.parametrize("loss", LOSSES)
def test_another_ignore_index_is_left_out(loss):
    output, batch = case()
    other = torch.where(batch["label"] == 255, -1, batch["label"])
    found = loss(ignore_index=-1)(output, {"label": other})
    assert found["loss"].item() == loss()(output, batch)["loss"].item()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("dtype", "scale"), [(torch.float16, 1e4), (torch.bfloat16, 1e30)])
def test_huge_low_precision_logits_stay_finite(loss, dtype, scale):
    output, batch = case(dtype=dtype, scale=scale)
    found = loss()(output, batch)
    assert found["loss"].dtype == torch.float32
    found["loss"].backward()
    assert torch.isfinite(found["loss"])
    assert torch.isfinite(output.student.grad).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_bad_input_is_refused(loss):
    output, batch = case()
    with pytest.raises(ValueError, match="kl_weight must be >= 0, got -1"):
        loss(kl_weight=-1)
    with pytest.raises(ValueError, match=r"one shape from both networks, got \[2, 4, 5, 6\] and \[3, 4, 5, 6\]"):
        loss()(DualBranchOutput(output.teacher[:2], output.student), batch)
    with pytest.raises(ValueError, match=r'batch\["label"\] must be \[3, 1, 5, 6\] to fit the logits, got \[3, 5, 6\]'):
        loss()(output, {"label": batch["label"][:, 0]})
