"""A volume patch by patch."""

from __future__ import annotations

from collections.abc import Sequence

from monai.inferers import Inferer, SliceInferer, SlidingWindowInferer

__all__ = ["patch_inferer"]


def patch_inferer(patch_size: Sequence[int], spatial_dims: int, *, pictures: bool = False) -> Inferer:
    """MONAI's inferer over overlapping patches that are blended: of slices for 2D networks, of the volume for 3D ones.

    Args:
        patch_size: sides of a patch, in voxels of the network's input.
        spatial_dims: of the network, 2 or 3; slices are taken along the last axis.
        pictures: the images have two dimensions themselves.

    Raises:
        ValueError: for another number of sides.
    """
    if spatial_dims not in (2, 3) or len(patch_size) != spatial_dims:
        raise ValueError(f"patch_size: expected {spatial_dims} sides for spatial_dims {spatial_dims}, got {patch_size}")
    if spatial_dims == 2 and not pictures:
        return SliceInferer(roi_size=patch_size, spatial_dim=2, sw_batch_size=16, overlap=0.25, mode="gaussian")
    return SlidingWindowInferer(roi_size=patch_size, sw_batch_size=4, overlap=0.25, mode="gaussian")
