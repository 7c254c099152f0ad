"""The usual steps between a file and a network, for volumes and for pictures alike, each one invertible."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from monai.transforms import Compose, NormalizeIntensityd, ScaleIntensityRanged, Transform, Transposed
from monai.utils import ensure_tuple

from medkd.transforms.sizes import Resized
from medkd.transforms.spacing import Spacingd

__all__ = ["intensities", "network_grid"]


def network_grid(
    keys: str | Sequence[str],
    *,
    kind: str,
    pixdim: Sequence[float] = (-1, -1, -1),
    image_size: Sequence[int] | None = None,
    labels: Collection[str] = ("label", "weak_label"),
) -> Compose:
    """Bring an image, and what lies on its grid, to the grid of the network.

    Args:
        keys: of the image and of what lies on its grid; absent ones are passed over.
        kind: ``"volume"``: resample to ``pixdim``; ``"frame"``: rows first, as networks of pictures are trained, and
            resized to ``image_size``.
        pixdim: spacing of a volume, in the units of its file; -1 keeps an axis as it is.
        image_size: rows and columns of a picture; ``None`` keeps its size.
        labels: those of the keys that hold classes: the nearest is taken.

    Raises:
        ValueError: for an unknown kind.
    """
    keys = ensure_tuple(keys)
    if kind not in {"volume", "frame"}:
        raise ValueError(f'kind must be "volume" or "frame", got {kind!r}')
    if kind == "volume":
        mode = ["nearest" if key in labels else "bilinear" for key in keys]
        return Compose([Spacingd(keys, pixdim=pixdim, mode=mode, allow_missing_keys=True)])
    steps: list[Transform] = [Transposed(keys, indices=[0, 2, 1], allow_missing_keys=True)]
    if image_size is not None:
        mode = ["nearest-exact" if key in labels else "bilinear" for key in keys]
        smooth = [key not in labels for key in keys]
        steps += [Resized(keys, spatial_size=image_size, mode=mode, anti_aliasing=smooth, allow_missing_keys=True)]
    return Compose(steps)


def intensities(
    keys: str | Sequence[str],
    *,
    intensity_range: Sequence[float] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Compose:
    """Cut and scale an image's values, then normalise each channel.

    Args:
        keys: of the images.
        intensity_range: two values that become 0 and 1, in the units of the image; ``None``: nothing is cut.
        mean: subtracted then, per channel; ``None``: the channel's own.
        std: divided by then, per channel; ``None``: the channel's own.
    """
    steps: list[Transform] = []
    if intensity_range is not None:
        low, high = intensity_range
        steps += [ScaleIntensityRanged(keys, a_min=low, a_max=high, b_min=0, b_max=1, clip=True)]
    centre, spread = (None if values is None else np.asarray(values, dtype=np.float32) for values in (mean, std))
    return Compose([*steps, NormalizeIntensityd(keys, subtrahend=centre, divisor=spread, channel_wise=True)])
