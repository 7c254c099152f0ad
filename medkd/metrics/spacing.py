"""Whether an image's voxel spacing is known, and what it is in millimetres."""

from __future__ import annotations

from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing

__all__ = ["known_spacing"]

# Codes of the NIfTI-1 header field xyzt_units, its three spatial bits.
_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}


def known_spacing(image: Any) -> tuple[tuple[float, ...], str]:
    """The voxel spacing along each axis, and its unit: ``"mm"``, or ``"voxels"`` where the file does not tell.

    A NIfTI file does not tell if its units are "unknown" and its voxels are unit cubes, which is what conversions that
    lose the geometry leave behind. DICOM and NIfTI files with units or with a spacing other than 1 do.

    Args:
        image: a ``MetaTensor`` ``[C, *spatial]``; anything else has no known spacing.

    Returns:
        One number per spatial axis, and ``"mm"`` or ``"voxels"``.
    """
    if not isinstance(image, MetaTensor):
        return (1.0,) * (np.ndim(image) - 1), "voxels"
    sizes = affine_to_spacing(image.affine, r=image.ndim - 1, dtype=float)
    spacing = tuple(float(value) for value in np.asarray(sizes))
    code = int(np.asarray(image.meta.get("xyzt_units", 0)).ravel()[0]) & 0x07
    if code in _MILLIMETRES:
        return tuple(value * _MILLIMETRES[code] for value in spacing), "mm"
    return spacing, "voxels" if np.allclose(spacing, 1.0) else "mm"
