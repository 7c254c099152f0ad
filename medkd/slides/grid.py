"""Tiles of a slide: cores that meet without overlap, each seen by the network with a halo around it.

Every pixel of the probability map belongs to the core of exactly one tile, and only the context overlaps. So a tile can
be written at once and for good: there is nothing to average and no accumulator to keep, memory does not grow with the
slide, and a run that was stopped goes on to the very same map. MONAI's ``PatchInferer`` with ``ZarrAvgMerger`` averages
overlaps instead, in two arrays of the whole slide; after a stop nobody knows which tiles are in both of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

__all__ = ["Grid"]


@dataclass(frozen=True)
class Grid:
    """The tiles of one slide, numbered row by row.

    Args:
        size: rows and columns of the slide at level 0.
        downsample: level-0 pixels per pixel of the network's input.
        tile_size: rows and columns of the network's input.
        halo: pixels of the network's input around each core that give context alone.
        map_downsample: rows and columns of the network's output that are averaged to one pixel of the map.

    Raises:
        ValueError: if no core is left, or it is not a whole number of the map's pixels.
    """

    size: tuple[int, int]
    downsample: float
    tile_size: int = 512
    halo: int = 32
    map_downsample: int = 4

    def __post_init__(self) -> None:
        if self.halo < 0 or self.map_downsample < 1:
            raise ValueError(f"expected halo >= 0 and map_downsample >= 1, got {self.halo} and {self.map_downsample}")
        if self.core < self.map_downsample or self.core % self.map_downsample:
            raise ValueError(
                f"expected tile_size - 2 halo to be a positive multiple of map_downsample {self.map_downsample}, got "
                f"{self.tile_size} - 2 × {self.halo} = {self.core}"
            )

    @property
    def core(self) -> int:
        """Rows and columns of a core, in pixels of the network's input."""
        return self.tile_size - 2 * self.halo

    @property
    def scale(self) -> float:
        """Level-0 pixels per pixel of the map."""
        return self.downsample * self.map_downsample

    @property
    def map_shape(self) -> tuple[int, int]:
        """Rows and columns of the map; its last ones may reach beyond the slide by less than one pixel."""
        return ceil(self.size[0] / self.scale - 1e-6), ceil(self.size[1] / self.scale - 1e-6)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        side = self.core // self.map_downsample
        return -(-self.map_shape[0] // side), -(-self.map_shape[1] // side)

    def location(self, number: int) -> tuple[float, float]:
        """Row and column of a tile's upper left corner, with its halo, in level-0 pixels."""
        row, column = divmod(number, self.shape[1])
        return (row * self.core - self.halo) * self.downsample, (column * self.core - self.halo) * self.downsample

    def core_box(self, number: int) -> tuple[int, int, int, int]:
        """First row, first column, rows and columns of a tile's core in the map; cores end where the map does."""
        side = self.core // self.map_downsample
        row, column = divmod(number, self.shape[1])
        top, left = row * side, column * side
        return top, left, min(side, self.map_shape[0] - top), min(side, self.map_shape[1] - left)

    def tiles_on(self, mask: NDArray[np.bool_], mask_downsample: float) -> NDArray[np.int64]:
        """Numbers of the tiles whose cores meet a mask.

        Args:
            mask: ``[rows, columns]`` over the whole slide.
            mask_downsample: level-0 pixels per pixel of the mask.
        """
        # Sums over rectangles as differences of a cumulative sum: one look-up per tile.
        sums = np.pad(mask.astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
        step = self.core * self.downsample / mask_downsample
        edges = []
        for tiles, length in zip(self.shape, mask.shape, strict=True):
            first = np.clip(np.floor(np.arange(tiles) * step + 1e-6).astype(int), 0, length)
            last = np.clip(np.ceil(np.arange(1, tiles + 1) * step - 1e-6).astype(int), 0, length)
            edges.append((first, last))
        (top, bottom), (left, right) = edges
        inside = sums[np.ix_(bottom, right)] - sums[np.ix_(top, right)] - sums[np.ix_(bottom, left)]
        inside += sums[np.ix_(top, left)]
        numbers: NDArray[np.int64] = np.flatnonzero(inside.ravel() > 0)
        return numbers
