"""At which resolution a network sees a slide, and tiles of exactly that resolution."""

from __future__ import annotations

from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medkd.reading.slides import Slide

__all__ = ["network_downsample", "read_scaled"]

_TOLERANCE = 0.05  # relative; as MONAI's WSIReader: within it a level is read as it is
_LARGEST_REGION = 1 << 24  # pixels read at once: 64 MiB


def network_downsample(
    slide: Slide, *, mpp: float | None = None, downsample: float | None = None, slide_mpp: float | None = None
) -> float:
    """How many level-0 pixels make one pixel of the network's input.

    Args:
        slide: the slide.
        mpp: microns per pixel of the network's input; within 5 % of a level, that level is taken as it is.
        downsample: the answer itself, where no ``mpp`` is given; below 1 the network sees a slide enlarged.
        slide_mpp: microns per pixel at level 0, for a slide whose file does not say.

    Raises:
        ValueError: if both or neither of ``mpp`` and ``downsample`` are given, or the slide's resolution is unknown or
            too coarse.
    """
    if downsample is not None and mpp is None:
        if downsample <= 0:
            raise ValueError(f"expected a downsample above 0, level-0 pixels per pixel, got {downsample}")
        return float(downsample)
    if mpp is None or downsample is not None:
        raise ValueError(f"expected either mpp or downsample, got mpp {mpp} and downsample {downsample}")
    own = slide.mpp or slide_mpp
    if own is None:
        raise ValueError(
            f"{slide.path}: expected microns per pixel (mpp) in its metadata, found none; give downsample instead of "
            "mpp, or the slide's own mpp as slide_mpp"
        )
    asked = mpp / own
    near = [d for d in slide.downsamples if abs(asked / d - 1) <= _TOLERANCE]
    if not near and asked < 1:
        raise ValueError(f"{slide.path}: expected at most {mpp:g} microns per pixel, found {own:g}: it is too coarse")
    return min(near, key=lambda d: abs(asked / d - 1)) if near else asked


def read_scaled(
    slide: Slide, location: tuple[float, float], size: tuple[int, int], downsample: float
) -> NDArray[np.uint8]:
    """A part of a slide at any resolution, from the best level that is not coarser; read in bounded pieces.

    Args:
        slide: the slide.
        location: row and column of the upper left corner (not of a pixel's centre), in level-0 pixels.
        size: rows and columns of the result.
        downsample: level-0 pixels per pixel of the result.

    Returns:
        Pixels ``[rows, columns, 3]`` of 8 bit; white beyond the slide's border.
    """
    level = slide.best_level(downsample)
    ratio = downsample / slide.downsamples[level]
    top, left = (place / slide.downsamples[level] for place in location)
    if abs(ratio - 1) < 1e-6 and all(abs(place - round(place)) < 1e-3 for place in (top, left)):
        return slide.read_level(level, round(top), round(left), *size)
    rows, columns = size
    if rows * columns * ratio**2 > _LARGEST_REGION and rows * columns > 1:
        return _in_halves(slide, location, size, downsample)
    margin = ceil(ratio) + 1  # the filter looks beyond the border, and halves must not show
    y0, x0 = floor(top) - margin, floor(left) - margin
    y1, x1 = ceil(top + rows * ratio) + margin, ceil(left + columns * ratio) + margin
    region = Image.fromarray(slide.read_level(level, y0, x0, y1 - y0, x1 - x0))
    box = (left - x0, top - y0, left - x0 + columns * ratio, top - y0 + rows * ratio)
    return np.asarray(region.resize((columns, rows), Image.Resampling.BILINEAR, box=box))


def _in_halves(
    slide: Slide, location: tuple[float, float], size: tuple[int, int], downsample: float
) -> NDArray[np.uint8]:
    """``read_scaled`` of both halves of the longer side."""
    axis = int(size[1] > size[0])
    first = size[axis] // 2
    place, parts = list(location), []
    for length in (first, size[axis] - first):
        shape = (length, size[1]) if axis == 0 else (size[0], length)
        parts.append(read_scaled(slide, (place[0], place[1]), shape, downsample))
        place[axis] += length * downsample
    return np.concatenate(parts, axis)
