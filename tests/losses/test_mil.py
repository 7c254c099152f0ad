"""The MIL losses and the fusion distillation against recorded numbers, and what they refuse."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medkd.losses import BagDiceLoss, FusionDistillationLoss, GeneralizedMeanLoss
from medkd.losses.mil import cross_entropy, easy_pixel_weights
from medkd.networks import SideOutputs
from medkd.pooling import generalized_mean

REFERENCE = Path(__file__).parents[1] / "reference" / "mil.npz"
LABEL = torch.tensor([1.0, 0.0])


@pytest.fixture
def reference():
    with np.load(REFERENCE) as content:
        return {key: torch.as_tensor(content[key]) for key in content.files}


@pytest.fixture
def ikd(reference):
    case = {key.split("/")[1]: value for key, value in reference.items() if key.startswith("ikd/")}
    sides = tuple(case[f"side{n}"].clone().requires_grad_() for n in (1, 2, 3))
    student = SideOutputs(sides, 0.3 * sides[0] + 0.3 * sides[1] + 0.4 * sides[2])
    return case, student, SideOutputs((), case["teacher_fused"]), {"label": case["bag_label"]}


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def maps(seed=0, **requires):
    generator = torch.Generator().manual_seed(seed)
    sides = tuple(torch.rand(2, 1, 8, 12, generator=generator).requires_grad_() for _ in range(2))
    return SideOutputs(sides, (sides[0] + sides[1]) / 2)


def test_stage_one_agrees_with_the_reference(ikd):
    case, student, _, batch = ikd
    found = BagDiceLoss()(student, batch)
    close(found["loss"], case["paper_stage1"])
    close(found["bag"] * len(batch["label"]), case["stage1_dice_sum"])


def test_paper_variant_agrees_with_the_reference(ikd):
    case, student, teacher, batch = ikd
    found = FusionDistillationLoss()(student, batch, teacher)
    close(found["distillation"], case["paper_distillation"])
    close(found["wce"], case["wce_intended"])
    close(found["loss"], case["paper_loss"])


def test_released_variant_and_its_gradients_agree_with_the_reference(ikd):
    case, student, teacher, batch = ikd
    found = FusionDistillationLoss(variant="released")(student, batch, teacher)
    close(found["wce"], case["wce_released"])
    close(found["distillation"] * len(batch["label"]), case["stage2_dice_sum"])
    close(found["loss"], case["total_released"])
    found["loss"].backward()
    for number in (1, 3):
        torch.testing.assert_close(student.sides[number - 1].grad, case[f"grad_side{number}"], rtol=1e-5, atol=1e-9)


def test_generalised_mean_agrees_with_the_reference(reference):
    prob = reference["gm/prob"].clone().requires_grad_()
    pooled = generalized_mean(prob)
    close(pooled, reference["gm/pooled"])
    loss = cross_entropy(pooled, reference["gm/bag_label"]).mean()
    close(loss, reference["gm/bce"])
    loss.backward()
    torch.testing.assert_close(prob.grad, reference["gm/grad"], rtol=1e-5, atol=1e-9)


def test_generalised_mean_loss_sums_over_the_maps():
    output = maps()
    expected = sum(cross_entropy(generalized_mean(o), LABEL).mean() for o in (*output.sides, output.fused))
    close(GeneralizedMeanLoss()(output, {"label": LABEL[:, None]})["loss"], expected)


@pytest.mark.parametrize("loss", [BagDiceLoss(), GeneralizedMeanLoss()])
def test_teachers_losses_fall_towards_what_the_label_says(loss):
    right, wrong = (torch.tensor([p, 1 - p]).view(2, 1, 1, 1).expand(2, 1, 8, 8) for p in (0.9, 0.1))
    values = [float(loss(SideOutputs((o, o), o), {"label": LABEL})["loss"]) for o in (right, wrong)]
    assert values[0] < values[1]


def test_hard_target_is_the_thresholded_map():
    student, teacher = maps(), maps(1)
    masks = SideOutputs((), (teacher.fused > 0.5).float())
    found = FusionDistillationLoss(target="hard", wce_weight=0)(student, {"label": LABEL}, teacher)
    close(found["loss"], FusionDistillationLoss(wce_weight=0)(student, {"label": LABEL}, masks)["loss"])
    assert set(found) == {"loss", "distillation"}


def test_mask_target_needs_no_teacher():
    student, mask = maps(), (maps(1).fused > 0.5).float()
    batch = {"label": LABEL, "mask": mask}
    found = FusionDistillationLoss(target="mask", wce_weight=0)(student, batch)
    expected = FusionDistillationLoss(wce_weight=0)(student, batch, SideOutputs((), mask))
    close(found["loss"], expected["loss"])


def test_negative_images_are_taught_that_there_is_nothing():
    student, batch = maps(), {"label": torch.zeros(2)}
    losses = [FusionDistillationLoss(wce_weight=0)(student, batch, maps(seed))["loss"] for seed in (1, 2)]
    close(losses[0], losses[1])


def test_no_gradient_reaches_the_teacher():
    teacher = maps(1)
    FusionDistillationLoss()(maps(), {"label": LABEL}, teacher)["loss"].backward()
    assert all(side.grad is None for side in teacher.sides)


def test_easy_pixels_count_more_unless_there_is_one_class():
    loss = torch.tensor([[0.1, 2.0, 0.5, 0.1], [0.1, 2.0, 0.5, 0.1]])
    weights = easy_pixel_weights(loss, torch.tensor([[0.0, 1, 1, 0], [1, 1, 1, 1]]))
    assert weights[0].argsort(descending=True).tolist()[2:] == [2, 1]
    close(weights.mean(1), torch.ones(2))
    close(weights[1], torch.ones(4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_saturates_without_infinity(dtype):
    extreme = torch.tensor([0.0, 1.0], dtype=dtype).repeat(64).view(2, 1, 8, 8)
    output = SideOutputs((extreme,), extreme)
    for loss in (BagDiceLoss(), GeneralizedMeanLoss(), FusionDistillationLoss()):
        assert torch.isfinite(loss(output, {"label": LABEL}, SideOutputs((), extreme.flip(-1)))["loss"])


def test_label_must_be_image_level():
    with pytest.raises(ValueError, match=r"image-level label of each of the 2 images.*got \(2, 1, 8, 12\)"):
        BagDiceLoss()(maps(), {"label": torch.zeros(2, 1, 8, 12)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "best"}, 'variant "paper" or "released"'),
        ({"target": "soft masks"}, 'target "soft", "hard" or "mask"'),
        ({"wce_weight": -1}, "wce_weight >= 0, got -1"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FusionDistillationLoss(**options)


@pytest.mark.parametrize("r", [1.0, 4.0, 8.0, 20.0])
def test_the_mean_and_its_gradient_are_those_of_the_equation(r):
    """In float64, where the powers of small probabilities are no 0."""
    prob = torch.cat(
        [torch.full((1, 1, 4, 4), 1e-7), torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))]
    )
    prob = prob.clamp(1e-7, 1 - 1e-7).requires_grad_()
    exact = prob.detach().double().requires_grad_()
    pooled, expected = generalized_mean(prob, r), (exact**r).mean((1, 2, 3)) ** (1 / r)
    torch.testing.assert_close(pooled.double(), expected, rtol=1e-4, atol=0)
    pooled.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(prob.grad.double(), exact.grad, rtol=1e-3, atol=1e-5)


def test_exponent_below_one_is_refused():
    with pytest.raises(ValueError, match=r"r >= 1, got 0\.5"):
        GeneralizedMeanLoss(0.5)


@pytest.mark.parametrize(
    ("options", "teacher", "message"),
    [
        ({}, None, "expected the teacher's output, got None"),
        ({"target": "mask"}, None, r'expected the true mask as batch\["mask"\], found none'),
        ({}, SideOutputs((), torch.zeros(2, 1, 4, 4)), r"student's shape \(2, 1, 8, 12\), got \(2, 1, 4, 4\)"),
    ],
)
def test_missing_and_misshaped_targets_are_refused(options, teacher, message):
    with pytest.raises(ValueError, match=message):
        FusionDistillationLoss(**options)(maps(), {"label": LABEL}, teacher)
