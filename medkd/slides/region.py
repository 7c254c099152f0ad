"""The probability map of a part of a slide: what the map of the whole slide has there, without waiting for all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor, gcd, lcm

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from medkd.reading.slides import Slide
from medkd.slides.grid import Grid
from medkd.slides.probability_map import core_bytes
from medkd.slides.resolution import read_scaled

__all__ = ["map_region"]

Predict = Callable[[NDArray[np.uint8]], Tensor]


def map_region(
    slide: Slide,
    grid: Grid,
    location: Sequence[int],
    size: Sequence[int],
    predict: Predict,
    *,
    tiles: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """The probability of every level-0 pixel of a region, interpolated between the pixels of the slide's map.

    Args:
        slide: the slide.
        grid: of the whole slide. The region's tiles are as large at most, and begin where they meet a network's strides
            as the slide's own tiles do.
        location: row and column of the region's upper left corner, in level-0 pixels; inside the slide.
        size: rows and columns of the region, in level-0 pixels.
        predict: makes probabilities ``[1, rows, columns]`` of a tile ``[rows, columns, 3]`` in RGB of 8 bit.
        tiles: numbers of the slide's tiles that its map is made of; it is 0 elsewhere. ``None``: of all.

    Returns:
        ``[rows, columns]``, 0 to 1.

    Raises:
        ValueError: if the network gives no probabilities.
        OSError: if the slide cannot be read.
    """
    (top, bottom), (left, right) = (
        _span(start, length, grid, whole) for start, length, whole in zip(location, size, grid.map_shape, strict=True)
    )
    rows = []
    for y in range(top, bottom, grid.core):
        height = min(grid.core, bottom - y)
        widths = [(x, min(grid.core, right - x)) for x in range(left, right, grid.core)]
        rows.append(np.concatenate([_core(slide, grid, (y, x), (height, w), predict) for x, w in widths], 1))
    known = np.concatenate(rows)
    if tiles is not None:
        known = known * _looked_at(grid, (top, left), known.shape, tiles)
    corner = (top * grid.downsample, left * grid.downsample)
    end = (grid.map_shape[0] - top // grid.map_downsample, grid.map_shape[1] - left // grid.map_downsample)
    places = [
        (np.arange(length) + 0.5 + start - first) / grid.scale - 0.5
        for start, length, first in zip(location, size, corner, strict=True)
    ]
    probability = known[: end[0], : end[1]].astype(np.float32) / 255
    found: NDArray[np.float32] = ndimage.map_coordinates(
        probability, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest"
    )
    return found


def _looked_at(
    grid: Grid, corner: tuple[int, int], shape: tuple[int, ...], tiles: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """The pixels of the map, from a corner on in pixels of the network's input, that belong to some tiles."""
    there = np.zeros(grid.shape, bool)
    there.flat[tiles] = True
    rows, columns = (
        np.minimum((first + np.arange(length) * grid.map_downsample) // grid.core, whole - 1)
        for first, length, whole in zip(corner, shape, grid.shape, strict=True)
    )
    return there[np.ix_(rows, columns)]


def _span(start: int, length: int, grid: Grid, whole: int) -> tuple[int, int]:
    """First and last pixel of the network's input, with a pixel of the map to interpolate from at both ends."""
    step = lcm(gcd(grid.core, grid.halo), grid.map_downsample)
    first = floor(start / grid.downsample) - grid.map_downsample
    last = min(ceil((start + length) / grid.downsample) + grid.map_downsample, whole * grid.map_downsample)
    return max(0, first // step * step), -(-last // step) * step


def _core(
    slide: Slide, grid: Grid, place: tuple[int, int], shape: tuple[int, int], predict: Predict
) -> NDArray[np.uint8]:
    """The map of a core, which is seen with the grid's halo around it; place and shape in pixels of the network's input."""
    top, left = ((start - grid.halo) * grid.downsample for start in place)
    rows, columns = (side + 2 * grid.halo for side in shape)
    pixels = read_scaled(slide, (top, left), (rows, columns), grid.downsample)
    core: NDArray[np.uint8] = core_bytes(predict(pixels)[None], grid)[0]
    return core
