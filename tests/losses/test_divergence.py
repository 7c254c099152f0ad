"""The shared log-softmax, divergence and entropy, against values worked out by hand and by SciPy."""

import math

import pytest
import torch
from scipy import special, stats

from medkd.losses.divergence import entropy, kl_divergence, log_softmax


@pytest.fixture
def logits():
    return torch.randn(2, 4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("temperature", "dim"), [(1.0, 1), (3.0, 1), (2.0, -1)])
def test_log_softmax_agrees_with_scipy(logits, temperature, dim):
    expected = special.log_softmax(logits.numpy() / temperature, axis=dim)
    torch.testing.assert_close(log_softmax(logits, temperature=temperature, dim=dim), torch.as_tensor(expected))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_low_precision_is_promoted_and_others_are_kept(logits, given, expected):
    assert log_softmax(logits.to(given)).dtype == expected
    assert kl_divergence(logits.to(given), logits.to(given)).dtype == expected
    assert entropy(logits.to(given)).dtype == expected


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_divergence_is_t_squared_times_scipys_kl_of_teacher_and_student(logits, temperature):
    teacher, student = logits, logits.flip(1)
    p, q = (special.softmax(x.numpy() / temperature, axis=1) for x in (teacher, student))
    expected = temperature**2 * stats.entropy(p, q, axis=1)
    torch.testing.assert_close(
        kl_divergence(teacher, student, temperature=temperature), torch.as_tensor(expected), rtol=1e-10, atol=1e-12
    )


def test_divergence_of_hand_worked_distributions_has_the_right_direction():
    teacher, student = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
    forward = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    backward = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert kl_divergence(teacher, student).item() == pytest.approx(forward, rel=1e-5)
    assert kl_divergence(student, teacher).item() == pytest.approx(backward, rel=1e-5)


def test_divergence_sends_gradients_to_both_sides(logits):
    teacher, student = logits.clone().requires_grad_(), logits.flip(1).requires_grad_()
    assert torch.autograd.gradcheck(lambda t, s: kl_divergence(t, s, temperature=2.0).mean(), (teacher, student))


def test_divergence_refuses_two_shapes():
    with pytest.raises(ValueError, match=r"must have one shape, got \(2, 3, 4\) and \(1, 3, 4\)"):
        kl_divergence(torch.zeros(2, 3, 4), torch.zeros(1, 3, 4))


def test_entropy_is_log_k_for_equal_logits_and_zero_for_a_certain_one():
    torch.testing.assert_close(entropy(torch.zeros(1, 4, 2)), torch.full((1, 2), math.log(4)))
    assert entropy(torch.tensor([[1e4, 0.0, 0.0]])).item() == 0.0


def test_entropy_agrees_with_scipy_along_any_axis(logits):
    expected = stats.entropy(special.softmax(logits.numpy(), axis=2), axis=2)
    torch.testing.assert_close(entropy(logits, dim=2), torch.as_tensor(expected))
