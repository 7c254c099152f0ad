"""The tiles of slides as a dataset, for a ``DataLoader`` whose workers read while the network runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import Dataset, MetaTensor

from medkd.reading.slides import open_slide
from medkd.slides.probability_map import ProbabilityMap
from medkd.slides.resolution import read_scaled

__all__ = ["SlideTiles"]


class SlideTiles(Dataset):
    """The tiles that the maps still lack, slide after slide.

    An item is ``{"image", "slide", "tile"}``: the tile ``[3, tile_size, tile_size]`` in RGB from 0 to 255 (uint8), the
    slide's place in ``maps``, and the tile's number in its grid. Places are kept in two arrays, not in an item each.

    Args:
        maps: the probability maps to fill.
        transform: what the bundle makes of an item.
    """

    def __init__(self, maps: Sequence[ProbabilityMap], transform: Callable[[Any], Any] | None = None) -> None:
        super().__init__([], transform)
        self.maps = list(maps)
        remaining = [made.remaining for made in self.maps]
        self._slides = np.repeat(np.arange(len(remaining)), [len(tiles) for tiles in remaining])
        self._tiles = np.concatenate([np.empty(0, np.int64), *remaining])

    def __len__(self) -> int:
        return len(self._tiles)

    def _transform(self, index: int) -> Any:
        slide, tile = int(self._slides[index]), int(self._tiles[index])
        plan = self.maps[slide].plan
        side = plan.grid.tile_size
        location = plan.grid.location(tile)
        pixels = read_scaled(open_slide(plan.path), location, (side, side), plan.grid.downsample)
        image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)))
        meta = {"filename_or_obj": str(plan.path), "location": location}
        item = {"image": MetaTensor(image, meta=meta), "slide": slide, "tile": tile}
        return self.transform(item)

    def batches(self, batch_size: int) -> list[list[int]]:
        """For ``DataLoader(batch_sampler=…)``: batches of one slide each, the same after a restart as without one.

        A network may round differently in batches of other sizes; so that a restart changes no bit of a map, the tiles
        that were together still are.
        """
        if batch_size < 1:
            raise ValueError(f"expected a batch size of at least 1, got {batch_size}")
        groups: dict[tuple[int, int], list[int]] = {}
        for number, made in enumerate(self.maps):
            indices = np.flatnonzero(self._slides == number)
            places = np.searchsorted(made.plan.tiles, self._tiles[indices])
            for index, place in zip(indices.tolist(), places.tolist(), strict=True):
                groups.setdefault((number, place // batch_size), []).append(index)
        return list(groups.values())
