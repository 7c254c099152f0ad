"""Random transforms of a whole batch, each image by itself, on the batch's device.

MONAI's do one image after the other: of a step of a compact network that is a third on a CPU, and nearly all of it beside a GPU.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
import torch.nn.functional as F
from monai.utils import ensure_tuple, ensure_tuple_rep
from torch import Tensor

__all__ = ["RandAffineBatchd", "RandIntensityBatchd"]


class RandAffineBatchd:
    """Mirror, turn and scale images ``[B, C, H, W]`` about their centre, in one interpolation; volumes ``[B, C, H, W, D]`` in plane.

    Each side is mirrored with probability 0.5, and square images are turned by 0 to 3 quarters. On top of that come, with
    probability ``prob``, an angle and a factor for either side, uniformly. (MONAI's ``RandAffined`` with one number as
    ``scale_range`` scales the first side alone.) All numbers are of PyTorch's global generator on the CPU.

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
        size = (first.shape[2], first.shape[3])
        matrices = self.matrices(len(first), size).to(first.device, non_blocking=True)
        grid = F.affine_grid(matrices, [len(first), 1, *size], align_corners=False)
        moved = {
            key: self._moved(batch[key], grid, mode)
            for key, mode in zip(self.keys, self.modes, strict=True)
            if key in batch or not self.allow_missing_keys
        }
        return {**batch, **moved}

    def _moved(self, image: Tensor, grid: Tensor, mode: str) -> Tensor:
        planes = image.float() if image.ndim == 4 else image.float().movedim(-1, 2).flatten(1, 2)  # [B, C·D, H, W]
        found = F.grid_sample(planes, grid, mode=mode, padding_mode=self.padding_mode, align_corners=False)
        if image.ndim > 4:
            found = found.reshape(len(image), image.shape[1], image.shape[-1], *found.shape[-2:]).movedim(2, -1)
        return found.to(image.dtype)

    def matrices(self, count: int, size: tuple[int, int]) -> Tensor:
        """Random matrices ``[count, 2, 3]``: from a place in the result to one in the image, sides from -1 to 1, x first."""
        chosen = (torch.rand(count) < self.prob).float()
        quarters = torch.randint(4, (count,)) if size[0] == size[1] else 2 * torch.randint(2, (count,))
        angle = chosen * _uniform(count) * self.rotate_range + quarters * int(self.mirror) * (torch.pi / 2)
        factors = 1 + chosen[:, None] * _uniform(count, 2) * self.scale_range
        factors = factors * (1 - 2 * torch.randint(2, (count, 2)) * int(self.mirror))
        sides = torch.tensor([size[1], size[0]], dtype=torch.float32)  # angles are of pixels, not of sides
        cosine, sine = angle.cos(), angle.sin()
        turned = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
        turned = turned * factors[:, None, :] * sides / sides[:, None]
        return torch.cat([turned, torch.zeros(count, 2, 1)], -1)


class RandIntensityBatchd:
    """Change the brightness of the channels of images ``[B, C, *spatial]``, normalise them, and add noise.

    With probability ``prob`` each channel is multiplied by a factor of its own, and with that probability an offset is added to
    all of an image, as MONAI's ``RandScaleIntensityd`` and ``RandShiftIntensityd`` do; then every channel becomes (x − mean)/std.
    With probability ``noise_prob`` Gaussian noise comes on top, of a standard deviation from 0 to ``noise_std`` (``RandGaussianNoised``).
    The numbers are of PyTorch's global generator on the CPU, the noise is of that on the images' device.

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
        return {**batch, **{key: self._changed(batch[key]) for key in self.keys}}

    def _changed(self, image: Tensor) -> Tensor:
        count, channels = image.shape[:2]
        factor = 1 + (torch.rand(count, 1) < self.prob) * _uniform(count, channels) * self.factors
        offset = (torch.rand(count, 1) < self.prob) * _uniform(count, 1) * self.offsets
        changed = image * _like(factor / self.std, image) + _like((offset - self.mean) / self.std, image)
        if self.noise_prob > 0:
            level = (torch.rand(count, 1) < self.noise_prob) * torch.rand(count, 1) * self.noise_std
            changed += torch.randn_like(changed) * _like(level, image)
        return changed


def _like(values: Tensor, image: Tensor) -> Tensor:
    """Values ``[B, C]`` on the device and in the dimensions of images."""
    return values.reshape(*values.shape, *[1] * (image.ndim - 2)).to(image.device, non_blocking=True)


def _uniform(*shape: int) -> Tensor:
    return 2 * torch.rand(*shape) - 1
