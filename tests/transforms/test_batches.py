"""Random transforms of whole batches, against MONAI's of single images."""

import math

import pytest
import torch
from monai.transforms import Affine, Compose, NormalizeIntensity

from medkd.transforms import SEED, RandAffineBatchd, RandIntensityBatchd


def batch(count=4, size=(32, 32), seed=0):
    draw = torch.Generator().manual_seed(seed)
    label = (torch.rand(count, 1, *size, generator=draw) > 0.5).to(torch.uint8)
    return {"image": torch.rand(count, 3, *size, generator=draw), "label": label, "strong": torch.ones(count).bool()}


def smooth(count, size):
    """Images that interpolation hardly changes."""
    rows, columns = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in size), indexing="ij")
    return torch.stack([(2 * rows + n).sin() + columns * rows for n in range(count)])[:, None]


@pytest.mark.parametrize("size", [(33, 33), (32, 48)])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_it_moves_images_as_monai_does(size, mode):
    transform = RandAffineBatchd("image", mode=mode, rotate_range=0.5, scale_range=0.3)
    images = smooth(6, size) if mode == "bilinear" else batch(6, size)["image"]
    torch.manual_seed(1)
    moved = transform({"image": images})["image"]
    torch.manual_seed(1)
    numbers = torch.stack([torch.rand(7) for _ in images])
    for image, result, matrix in zip(images, moved, transform.matrices(numbers, size), strict=True):
        to_rows, sides = torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([float(size[1]), float(size[0])])
        linear = matrix[:, :2] * sides[:, None] / sides  # x first, in pixels
        affine = torch.eye(3)
        affine[:2, :2] = to_rows @ linear @ to_rows  # MONAI's have rows first
        expected = Affine(affine=affine, mode=mode, padding_mode="zeros", image_only=True)(image)
        agree = (torch.as_tensor(expected) - result).abs() < 1e-3
        assert agree.float().mean() > 0.97  # at the border MONAI's pixel centres may fall on the other side


def test_without_ranges_pixels_are_only_rearranged():
    images = batch(64)["image"]
    torch.manual_seed(0)
    moved = RandAffineBatchd("image")({"image": images})["image"]
    found = set()
    for image, result in zip(images, moved, strict=True):
        ways = [turned for k in range(4) for turned in (image.rot90(k, [1, 2]), image.rot90(k, [1, 2]).flip(1))]
        (which,) = [n for n, way in enumerate(ways) if torch.allclose(way, result, atol=1e-5)]
        found.add(which)
    assert found == set(range(8))


def test_images_that_are_not_square_stay_upright():
    images = batch(16, (32, 48))["image"]
    moved = RandAffineBatchd("image")({"image": images})["image"]
    for image, result in zip(images, moved, strict=True):
        assert any(torch.allclose(image.flip(axes), result, atol=1e-5) for axes in ([], [1], [2], [1, 2]))


def test_labels_follow_their_images_and_keep_their_values():
    content = batch(8)
    content["image"] = content["label"].repeat(1, 3, 1, 1).float()
    transform = RandAffineBatchd(["image", "label"], mode="nearest", rotate_range=0.5, scale_range=0.2)
    moved = transform(content)
    assert moved["label"].dtype == torch.uint8
    assert torch.equal(moved["label"].float(), moved["image"][:, :1])
    assert moved["strong"] is content["strong"]
    assert not torch.equal(moved["label"], content["label"])


def test_angles_and_factors_stay_within_their_ranges_and_have_their_probability():
    torch.manual_seed(0)
    transform = RandAffineBatchd("image", rotate_range=0.5, scale_range=0.2, prob=0.7)
    matrices = transform.matrices(torch.rand(4000, 7), (8, 8))[:, :, :2]
    lengths = matrices.norm(dim=1)
    assert 0.8 <= lengths.min() < 0.81
    assert 1.19 < lengths.max() <= 1.2
    unchanged = ((lengths - 1).abs() < 1e-6).all(1)
    assert unchanged.float().mean() == pytest.approx(0.3, abs=0.03)
    angles = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]) % (math.pi / 2)
    assert torch.minimum(angles, math.pi / 2 - angles).max() == pytest.approx(0.5, abs=0.01)


def test_the_same_seed_gives_the_same_batch():
    transform = RandAffineBatchd(["image", "label"], mode=["bilinear", "nearest"], rotate_range=0.5)
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append(transform(batch()))
    assert torch.equal(results[0]["image"], results[1]["image"])


def test_what_an_image_becomes_depends_on_its_seed_alone():
    """So two processes with half a batch each change its images as one process would."""
    whole = {**batch(6), SEED: torch.arange(6) + 2**31}
    transform = Compose(
        [
            RandAffineBatchd(["image", "label"], mode=["bilinear", "nearest"], rotate_range=0.5, scale_range=0.2),
            RandIntensityBatchd("image", factors=0.2, offsets=0.1, prob=0.7, noise_std=0.2, noise_prob=0.7),
            RandAffineBatchd(["image", "label"], mode=["bilinear", "nearest"]),
        ]
    )
    together = transform(whole)
    for part in (torch.tensor([0, 2, 4]), torch.tensor([5, 3, 1])):
        torch.rand(7)  # the global generator's state has no part in it
        alone = transform({key: value[part] for key, value in whole.items()})
        for key in ("image", "label"):
            torch.testing.assert_close(alone[key], together[key][part], rtol=0, atol=1e-6)
    same = transform({**whole, "image": whole["image"][:1].repeat(6, 1, 1, 1)})["image"]
    assert all(not torch.equal(one, other) for n, one in enumerate(same) for other in same[:n])


def test_transforms_in_a_row_draw_different_numbers():
    content = {"image": smooth(64, (8, 8)), SEED: torch.arange(64)}
    first = RandAffineBatchd("image", rotate_range=0.5)(content)
    assert first[SEED].unique().numel() == 64
    assert not torch.equal(first[SEED], content[SEED])
    assert torch.equal(RandAffineBatchd("image", rotate_range=0.5)(content)[SEED], first[SEED])


def test_without_change_it_normalises_as_monai_does():
    content, mean, std = batch(), [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    result = RandIntensityBatchd("image", factors=0.0, offsets=0.0, mean=mean, std=std)(content)["image"]
    monai = NormalizeIntensity(subtrahend=mean, divisor=std, channel_wise=True)
    torch.testing.assert_close(result, torch.stack([torch.as_tensor(monai(image)) for image in content["image"]]))


def test_channels_have_factors_and_images_offsets_of_their_own():
    images = torch.stack([torch.full((3, 4, 4), value) for value in (1.0, 2.0)]).repeat(2000, 1, 1, 1)
    torch.manual_seed(0)
    transform = RandIntensityBatchd("image", factors=0.2, offsets=0.1, prob=0.5, mean=[0.0] * 3, std=[1.0] * 3)
    ones, twos = transform({"image": images})["image"][..., 0, 0].reshape(-1, 2, 3).unbind(1)
    assert 0.7 <= ones.min() < 0.72
    assert 1.28 < ones.max() <= 1.3
    assert 1.5 <= twos.min() < 1.53  # factors multiply, offsets do not
    assert (ones[:, 0] != ones[:, 1]).float().mean() == pytest.approx(0.5, abs=0.04)
    assert (ones == 1).all(1).float().mean() == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize("wrong", [{"scale_range": 1.0}, {"prob": 1.5}, {"scale_range": -0.1}])
def test_ranges_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=r"expected scale_range in \[0, 1\) and prob in \[0, 1\]"):
        RandAffineBatchd("image", **wrong)


@pytest.mark.parametrize("wrong", [{"std": [0.0]}, {"std": [1.0, 1.0]}])
def test_a_normalisation_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="expected a mean and a std > 0 for each channel"):
        RandIntensityBatchd("image", factors=0.1, offsets=0.1, **{"mean": [0.0], **wrong})


def test_volumes_are_moved_in_plane_as_their_slices_are():
    volume = torch.stack([batch(4, (24, 32), seed)["image"] for seed in range(5)], -1)
    transform = RandAffineBatchd("image", rotate_range=0.4, scale_range=0.2, padding_mode="border", mirror=False)
    torch.manual_seed(3)
    moved = transform({"image": volume})["image"]
    for place in range(5):
        torch.manual_seed(3)
        torch.testing.assert_close(moved[..., place], transform({"image": volume[..., place]})["image"])


def test_what_is_not_mirrored_stays_upright():
    images = batch(64)["image"]
    assert torch.allclose(RandAffineBatchd("image", mirror=False)({"image": images})["image"], images, atol=1e-5)


def test_noise_comes_on_some_images_as_monai_s():
    torch.manual_seed(0)
    images = torch.zeros(400, 1, 16, 16, 4)
    noisy = RandIntensityBatchd("image", factors=0, offsets=0, noise_std=0.1, noise_prob=0.25)({"image": images})[
        "image"
    ]
    levels = noisy.flatten(1).std(1)
    assert 60 < int((levels > 0).sum()) < 140
    assert 0.04 < float(levels[levels > 0].mean()) < 0.06
    assert float(levels.max()) < 0.11


def test_images_of_other_channels_are_refused():
    transform = RandIntensityBatchd("image", factors=0.1, offsets=0.1, mean=[0.5] * 3, std=[0.5] * 3)
    with pytest.raises(ValueError, match="image: expected 3 channels, as the mean has, found 1"):
        transform({"image": torch.zeros(2, 1, 8, 8)})
