"""Maps are smoothed as scipy smooths them, and nothing is lost at their borders."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter

from medkd.transforms import SmoothMapd


def smoothed(maps: torch.Tensor, sigma: float) -> torch.Tensor:
    return SmoothMapd("pred", sigma=sigma)({"pred": maps})["pred"]


def test_a_level_map_stays_level_to_its_corners() -> None:
    np.testing.assert_allclose(smoothed(torch.full((1, 40, 30), 0.8), 3), 0.8, atol=1e-4)


@pytest.mark.parametrize(
    "shape", [(2, 40, 30), (1, 5, 7), (1, 20, 18, 9)], ids=["map", "smaller than the kernel", "volume"]
)
def test_it_is_scipy_s_filter(shape: tuple[int, ...]) -> None:
    maps = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    expected = gaussian_filter(maps.numpy(), [0] + [3] * (len(shape) - 1), mode="nearest")
    np.testing.assert_allclose(
        smoothed(maps, 3), expected, atol=2e-3
    )  # which takes the bell at a pixel's centre, not over it


def test_no_smoothing_changes_nothing() -> None:
    maps = torch.rand(1, 9, 9)
    assert torch.equal(smoothed(maps, 0), maps)


def test_place_and_half_precision_are_understood() -> None:
    affine = torch.diag(torch.tensor([2.0, 3, 1, 1]))
    found = smoothed(MetaTensor(torch.rand(1, 20, 20, dtype=torch.bfloat16), affine=affine), 1.5)
    assert isinstance(found, MetaTensor)
    assert found.dtype == torch.float32
    assert torch.equal(found.affine.float(), affine)


def test_a_negative_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a smoothing \(sigma\) of 0 or more pixels, got -1"):
        SmoothMapd("pred", sigma=-1)
