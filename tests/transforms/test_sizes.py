"""Pictures are shrunk as Pillow shrinks them, and come back as MONAI brings them back."""

import numpy as np
import pytest
import torch
from monai import transforms as monai
from monai.data import MetaTensor
from PIL import Image

from medkd.transforms import Resized

BOTH = (Resized, monai.Resized)


@pytest.fixture
def frame() -> MetaTensor:
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (3, 20, 30))
    return MetaTensor(coarse.repeat(6, 1).repeat(5, 2) + rng.normal(0, 20, (3, 120, 150)))


def resized(transform: type, frame: MetaTensor, size: tuple[int, int], **others) -> MetaTensor:
    return transform("image", size, mode="bilinear", anti_aliasing=True, **others)({"image": frame.clone()})["image"]


def there_and_back(transform: type, frame: MetaTensor) -> MetaTensor:
    made = transform("image", (32, 64), mode="bilinear", anti_aliasing=True)
    return made.inverse(made({"image": frame.clone()}))["image"]


@pytest.mark.parametrize("size", [(32, 64), (64, 200), (240, 300)], ids=["smaller", "lower and wider", "larger"])
def test_the_filter_is_that_of_pillow(frame: MetaTensor, size: tuple[int, int]) -> None:
    found = resized(Resized, frame, size)
    channels = (Image.fromarray(channel.numpy().astype(np.float32)) for channel in frame)
    expected = np.stack([channel.resize(size[::-1], Image.Resampling.BILINEAR) for channel in channels])
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, atol=0.01)


def test_lines_finer_than_a_pixel_become_grey() -> None:
    lines = MetaTensor(torch.tensor([0.0, 200.0]).repeat(1, 64, 32))
    assert (resized(Resized, lines, (15, 15)) - 100).abs().max() < 10
    assert (monai.Resized("image", (15, 15), mode="bilinear")({"image": lines})["image"] - 100).abs().max() > 50


def test_what_it_leaves_is_what_monai_leaves(frame: MetaTensor) -> None:
    """The affine, and the way back to the frame's own size."""
    ours, theirs = (resized(transform, frame, (32, 64)) for transform in BOTH)
    assert torch.equal(ours.affine, theirs.affine)
    assert ours.applied_operations[-1]["extra_info"] == theirs.applied_operations[-1]["extra_info"]
    back, theirs = (there_and_back(transform, frame) for transform in BOTH)
    assert back.shape == frame.shape
    assert torch.equal(back.affine, theirs.affine)
    assert (back - theirs).abs().mean() < 5 < (frame - theirs).abs().mean()


@pytest.mark.parametrize(
    "others",
    [
        {"mode": "nearest-exact"},
        {"mode": "area", "anti_aliasing": True},
        {"mode": "bilinear", "anti_aliasing": True, "anti_aliasing_sigma": 2.0},
    ],
)
def test_masks_and_other_filters_are_left_to_monai(frame: MetaTensor, others: dict[str, object]) -> None:
    assert torch.equal(*(made("image", (32, 64), **others)({"image": frame})["image"] for made in BOTH))


def test_volumes_are_left_to_monai(frame: MetaTensor) -> None:
    ours, theirs = (made("image", (2, 32, 64), "all", "bilinear", anti_aliasing=True) for made in BOTH)
    assert torch.equal(ours({"image": frame[None]})["image"], theirs({"image": frame[None]})["image"])


def test_arrays_are_taken_too(frame: MetaTensor) -> None:
    transform = Resized(["image"], (32, 64), "all", "bilinear", anti_aliasing=True)
    assert torch.equal(transform({"image": frame.numpy()})["image"], transform({"image": frame})["image"])
