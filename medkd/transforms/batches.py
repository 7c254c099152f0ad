"""Random transforms of a whole batch, each image by itself, on the batch's device.

MONAI's do one image after the other: of a step of a compact network that is a third on a CPU, and nearly all of it beside a GPU.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
import torch.nn.functional as F
from monai.utils import ensure_tuple, ensure_tuple_rep
from torch import Tensor

__all__ = ["SEED", "RandAffineBatchd", "RandIntensityBatchd"]

SEED = "draw_seed"  # the key of a batch under which the seed of each image lies, int64 [B], on the CPU


class RandAffineBatchd:
    """Mirror, turn and scale images ``[B, C, H, W]`` about their centre, in one interpolation; volumes ``[B, C, H, W, D]`` in plane.

    Each side is mirrored with probability 0.5, and square images are turned by 0 to 3 quarters. On top of that come, with
    probability ``prob``, an angle and a factor for either side, uniformly. (MONAI's ``RandAffined`` with one number as
    ``scale_range`` scales the first side alone.) What is drawn for an image depends on its ``SEED`` alone, not on the others of
    its batch; without that key all numbers are of PyTorch's global generator on the CPU.

    Args:
        keys: what is transformed alike, the same height and width for all.
        mode: ``"bilinear"`` or ``"nearest"``, for each key; nearest keeps a label's values.
        rotate_range: the largest angle, radians.
        scale_range: the largest difference of a factor from 1, < 1; a factor of 1.1 shows a tenth more of the scene.
        prob: of angle and factors.
        padding_mode: of what comes from outside: ``"zeros"``, ``"border"`` or ``"reflection"``.
        mirror: false: neither mirrored nor turned by quarters.
        allow_missing_keys: whether a batch may be without one.
    """

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        *,
        mode: str | Sequence[str] = "bilinear",
        rotate_range: float = 0.0,
        scale_range: float = 0.0,
        prob: float = 1.0,
        padding_mode: str = "zeros",
        mirror: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        if not 0 <= scale_range < 1 or not 0 <= prob <= 1:
            raise ValueError(f"expected scale_range in [0, 1) and prob in [0, 1], got {scale_range} and {prob}")
        self.keys = ensure_tuple(keys)
        self.modes = ensure_tuple_rep(mode, len(self.keys))
        self.rotate_range, self.scale_range, self.prob = rotate_range, scale_range, prob
        self.padding_mode, self.mirror, self.allow_missing_keys = padding_mode, mirror, allow_missing_keys

    def __call__(self, batch: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        """A new batch; what the keys do not name is passed on."""
        first = batch[self.keys[0]]
        size, draws = (first.shape[2], first.shape[3]), _Draws(batch, len(first))
        matrices = self.matrices(draws.uniform(7), size).to(first.device, non_blocking=True)
        grid = F.affine_grid(matrices, [len(first), 1, *size], align_corners=False)
        moved = {
            key: self._moved(batch[key], grid, mode)
            for key, mode in zip(self.keys, self.modes, strict=True)
            if key in batch or not self.allow_missing_keys
        }
        return {**batch, **moved, **draws.following()}

    def _moved(self, image: Tensor, grid: Tensor, mode: str) -> Tensor:
        planes = image.float() if image.ndim == 4 else image.float().movedim(-1, 2).flatten(1, 2)  # [B, C·D, H, W]
        found = F.grid_sample(planes, grid, mode=mode, padding_mode=self.padding_mode, align_corners=False)
        if image.ndim > 4:
            found = found.reshape(len(image), image.shape[1], image.shape[-1], *found.shape[-2:]).movedim(2, -1)
        return found.to(image.dtype)

    def matrices(self, numbers: Tensor, size: tuple[int, int]) -> Tensor:
        """Matrices ``[B, 2, 3]`` of random numbers ``[B, 7]`` from 0 to 1: they lead from a place in the result to one in the image.

        Places are x first, and the sides go from -1 to 1.
        """
        chosen, turn, angle, *rest = numbers.unbind(1)
        factor, mirrored = torch.stack(rest[:2], 1), torch.stack(rest[2:], 1)
        chosen = (chosen < self.prob).float()
        quarters = (4 * turn).floor() if size[0] == size[1] else 2 * (2 * turn).floor()
        angle = chosen * _signed(angle) * self.rotate_range + quarters * int(self.mirror) * (torch.pi / 2)
        factors = 1 + chosen[:, None] * _signed(factor) * self.scale_range
        factors = factors * (1 - 2 * (mirrored < 0.5).float() * int(self.mirror))
        sides = torch.tensor([size[1], size[0]], dtype=torch.float32)  # angles are of pixels, not of sides
        cosine, sine = angle.cos(), angle.sin()
        turned = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
        turned = turned * factors[:, None, :] * sides / sides[:, None]
        return torch.cat([turned, torch.zeros(len(turned), 2, 1)], -1)


class RandIntensityBatchd:
    """Change the brightness of the channels of images ``[B, C, *spatial]``, normalise them, and add noise.

    With probability ``prob`` each channel is multiplied by a factor of its own, and with that probability an offset is added to
    all of an image, as MONAI's ``RandScaleIntensityd`` and ``RandShiftIntensityd`` do; then every channel becomes (x − mean)/std.
    With probability ``noise_prob`` Gaussian noise comes on top, of a standard deviation from 0 to ``noise_std`` (``RandGaussianNoised``).
    What is drawn for an image depends on its ``SEED`` alone; without that key the numbers are of PyTorch's global generator on the
    CPU, the noise is of that on the images' device.

    Args:
        keys: the images.
        factors: the largest difference of a factor from 1.
        offsets: the largest offset, in the units of the images.
        prob: of the factors of an image, and of its offset.
        mean: of each channel, or one for all.
        std: of each channel, or one for all, > 0.
        noise_std: the largest standard deviation of the noise, in units of the normalised images.
        noise_prob: of an image's noise.

    Raises:
        ValueError: for an impossible mean or std, and, when called, for images of other channels.
    """

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        *,
        factors: float,
        offsets: float,
        prob: float = 1.0,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        noise_std: float = 0.0,
        noise_prob: float = 0.0,
    ) -> None:
        if min(std) <= 0 or len(mean) != len(std):
            raise ValueError(f"expected a mean and a std > 0 for each channel, got {list(mean)} and {list(std)}")
        self.keys = ensure_tuple(keys)
        self.factors, self.offsets, self.prob = factors, offsets, prob
        self.mean, self.std = torch.tensor(mean), torch.tensor(std)
        self.noise_std, self.noise_prob = noise_std, noise_prob

    def __call__(self, batch: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        """A new batch; what the keys do not name is passed on."""
        for key in self.keys:
            channels = batch[key].shape[1]
            if len(self.mean) not in (1, channels):
                raise ValueError(f"{key}: expected {len(self.mean)} channels, as the mean has, found {channels}")
        draws = _Draws(batch, len(batch[self.keys[0]]))
        return {**batch, **{key: self._changed(batch[key], draws) for key in self.keys}, **draws.following()}

    def _changed(self, image: Tensor, draws: _Draws) -> Tensor:
        factor, offset = draws.uniform(1 + image.shape[1]), draws.uniform(2)
        factor = 1 + (factor[:, :1] < self.prob) * _signed(factor[:, 1:]) * self.factors
        offset = (offset[:, :1] < self.prob) * _signed(offset[:, 1:]) * self.offsets
        changed = image * _like(factor / self.std, image) + _like((offset - self.mean) / self.std, image)
        if self.noise_prob > 0:
            level = draws.uniform(2)
            level = (level[:, :1] < self.noise_prob) * level[:, 1:] * self.noise_std
            changed += draws.normal(changed) * _like(level, image)
        return changed


class _Draws:
    """A generator for each image: a batch that is shared out otherwise, to other processes for example, has the same changes."""

    def __init__(self, batch: Mapping[Hashable, Tensor], count: int) -> None:
        seeds = batch[SEED].tolist() if SEED in batch else [None] * count
        self.generators = [None if seed is None else torch.Generator().manual_seed(seed) for seed in seeds]

    def uniform(self, number: int) -> Tensor:
        """``[B, number]`` from 0 to 1."""
        return torch.stack([torch.rand(number, generator=generator) for generator in self.generators])

    def normal(self, images: Tensor) -> Tensor:
        """As many as the images have values, on their device."""
        made = torch.empty_like(images)
        for image, generator in zip(made, self.generators, strict=True):
            there = generator and torch.Generator(images.device).manual_seed(_seed(generator))
            image.normal_(generator=there)
        return made

    def following(self) -> dict[Hashable, Tensor]:
        """The seeds for the transform that comes next."""
        seeds = [_seed(generator) for generator in self.generators if generator]
        return {SEED: torch.tensor(seeds)} if seeds else {}


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**32, (), generator=generator))


def _like(values: Tensor, image: Tensor) -> Tensor:
    """Values ``[B, C]`` on the device and in the dimensions of images."""
    return values.reshape(*values.shape, *[1] * (image.ndim - 2)).to(image.device, non_blocking=True)


def _signed(numbers: Tensor) -> Tensor:
    """From -1 to 1."""
    return 2 * numbers - 1
