"""How a network of patches is applied to images of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai.inferers import Inferer, SliceInferer, SlidingWindowInferer
from monai.utils import ensure_tuple
from torch import Tensor

__all__ = ["STRIDE", "patch_inferer"]

STRIDE = 32  # the coarsest of the networks that take sides of any multiple of it


def patch_inferer(patch_size: Sequence[int], spatial_dims: int, *, pictures: bool = False) -> Inferer:
    """MONAI's inferer over overlapping patches that are blended: of slices for 2D networks, of the volume for 3D ones.

    Args:
        patch_size: sides of a patch, in voxels of the network's input; -1 for the whole side of the image, filled up to a
            multiple of ``STRIDE``.
        spatial_dims: of the network, 2 or 3; slices are taken along the last axis.
        pictures: the images have two dimensions themselves.

    Raises:
        ValueError: for another number of sides, or impossible ones.
    """
    if spatial_dims not in (2, 3) or len(ensure_tuple(patch_size)) != spatial_dims:
        raise ValueError(
            f"patch_size and window_size: expected {spatial_dims} sides for spatial_dims {spatial_dims}, got {patch_size}"
        )
    if any(side < 1 and side != -1 for side in patch_size):  # MONAI takes them all for the whole side
        raise ValueError(f"patch_size and window_size: expected sides > 0, or -1 for the whole side, got {patch_size}")
    if -1 in patch_size:
        return _WholeSides(patch_size, pictures=pictures)
    if spatial_dims == 2 and not pictures:
        return SliceInferer(roi_size=patch_size, spatial_dim=2, sw_batch_size=16, overlap=0.25, mode="gaussian")
    return SlidingWindowInferer(roi_size=patch_size, sw_batch_size=4, overlap=0.25, mode="gaussian")


class _WholeSides(Inferer):
    """Patches whose size is that of the image at hand."""

    def __init__(self, patch_size: Sequence[int], *, pictures: bool) -> None:
        self.patch_size, self.pictures = patch_size, pictures

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        sides = [
            -(-side // STRIDE) * STRIDE if wanted == -1 else wanted
            for wanted, side in zip(self.patch_size, inputs.shape[2:], strict=False)
        ]
        return patch_inferer(sides, len(sides), pictures=self.pictures)(inputs, network, *args, **kwargs)
