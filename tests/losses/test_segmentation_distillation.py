"""The standard losses against numbers recorded from a public implementation, and what keeps them usable."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from medkd.losses.segmentation_distillation import (
    channelwise_divergence,
    intra_class_variation,
    pairwise_similarity,
    pixel_divergence,
)

with np.load(Path(__file__).parents[1] / "reference" / "segmentation_distillation.npz") as content:
    REFERENCE = {key: torch.as_tensor(content[key]) for key in content.files}
LABEL = REFERENCE["label"][:, None]
LOSSES = {
    "logits_T1": partial(pixel_divergence, temperature=1.0),
    "logits_T4": partial(pixel_divergence, temperature=4.0),
    "channelwise_T4": partial(channelwise_divergence, temperature=4.0),
    "channelwise_features_T4": partial(channelwise_divergence, temperature=4.0),
    "pairwise_features": pairwise_similarity,
    "intra_class_features": lambda s, t: intra_class_variation(s, t, LABEL.to(s.device), num_classes=4),
}
OF_VOLUMES = {
    "pixel": partial(pixel_divergence, temperature=2.0),
    "channelwise": partial(channelwise_divergence, temperature=2.0),
    "pairwise": pairwise_similarity,
    "variation": lambda s, t: intra_class_variation(s, t, s[:, :1].detach().sign() + 1, num_classes=3),
}


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_are_those_recorded(name: str) -> None:
    suffix = "_features" if "features" in name else ""
    student = REFERENCE["student" + suffix].clone().requires_grad_()
    loss = LOSSES[name](student, REFERENCE["teacher" + suffix])
    torch.testing.assert_close(loss, REFERENCE[name], rtol=1e-9, atol=0)
    loss.backward()
    torch.testing.assert_close(student.grad, REFERENCE[f"{name}_grad"], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", OF_VOLUMES)
def test_a_volume_of_two_equal_slices_gives_what_the_slice_gives(name: str) -> None:
    """But for the pairs, which are of twice as many places before and after."""
    student, teacher = torch.randn(2, 2, 3, 8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    flat = OF_VOLUMES[name](student, teacher)
    deep = OF_VOLUMES[name](student.unsqueeze(-1).repeat_interleave(2, -1), teacher[..., None].repeat_interleave(2, -1))
    torch.testing.assert_close(deep, flat)


@pytest.mark.parametrize("name", OF_VOLUMES)
def test_nothing_is_lost_where_student_and_teacher_agree(name: str) -> None:
    maps = torch.randn(2, 3, 8, 8)
    assert OF_VOLUMES[name](maps, maps.clone()).abs() < 1e-6


@pytest.mark.parametrize("name", OF_VOLUMES)
def test_saturated_half_precision_stays_finite(name: str) -> None:
    student = torch.full((1, 3, 8, 8), -6e4, dtype=torch.float16)
    student[:, 0] = 6e4
    leaf = student.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = OF_VOLUMES[name](leaf, -student.detach())
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("name", OF_VOLUMES)
def test_maps_of_two_sizes_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 8, 8\)"):
        OF_VOLUMES[name](torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 4, 8))


def test_pairs_are_those_of_the_matrices_that_are_never_made() -> None:
    student, teacher = torch.randn(2, 5, 6, 6, dtype=torch.float64), torch.randn(2, 7, 6, 6, dtype=torch.float64)

    def matrix(x: torch.Tensor) -> torch.Tensor:
        unit = torch.nn.functional.normalize(torch.nn.functional.max_pool2d(x, 2).flatten(2), dim=1)
        return torch.einsum("bcm,bcn->bmn", unit, unit)

    expected = (matrix(student) - matrix(teacher)).square().mean()
    torch.testing.assert_close(pairwise_similarity(student, teacher), expected)


def test_ignored_pixels_do_not_count_for_their_class() -> None:
    student, teacher = torch.randn(2, 1, 3, 4, 4)
    label = torch.zeros(1, 1, 4, 4)
    label[..., 2:] = 255
    changed = student.clone()
    changed[..., 2:] = torch.randn(1, 3, 4, 2)
    first, second = (intra_class_variation(s, teacher, label, num_classes=2) for s in (student, changed))
    torch.testing.assert_close(first, second)


def test_a_label_of_another_size_is_taken_at_the_nearest_pixel() -> None:
    student, teacher = torch.randn(2, 1, 3, 4, 4)
    label = (torch.arange(16).view(1, 1, 4, 4) % 3).float()
    fine = label.repeat_interleave(2, -1).repeat_interleave(2, -2)
    first, second = (intra_class_variation(student, teacher, one, num_classes=3) for one in (label, fine))
    torch.testing.assert_close(first, second)
