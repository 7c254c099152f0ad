"""Histology tiles with their image-level label, as items."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from numpy.typing import NDArray

from medkd.reading.tiles import read_tile_mask, read_tile_pixels

__all__ = ["LoadTiled"]

_NEEDS = ("never", "available", "always")


class LoadTiled(Transform):
    """Load a tile, its image-level label and, where asked, its mask; x first, as MONAI's readers have it.

    In: ``image``, a path; optionally ``location`` (row and column of the tile's upper left pixel) and ``size`` (rows and
    columns) where the tile is part of that image, and ``level`` where that image is a slide, or too large to decode for
    every tile; ``label``: 0 or 1, or the path of a mask, which is positive where it holds any foreground; optionally
    ``mask``, the path of a mask of the same grid, or of a slide's annotation (ASAP's XML).

    Out: ``image`` ``[3, W, H]`` in [0, 255], ``label`` (0 or 1, a float scalar), and with ``masks`` also ``mask``
    ``[1, W, H]`` of 0 and 1 and ``has_mask``. A negative tile needs no file for its empty mask.

    Args:
        masks: ``"never"``: pixel labels are not even read; ``"available"``: tiles without one get an empty mask and
            ``has_mask = False``; ``"always"``: a positive tile without one is an error.

    Raises:
        ValueError: when called, with the file, what was expected and what was found.
    """

    def __init__(self, *, masks: str = "never") -> None:
        if masks not in _NEEDS:
            raise ValueError(f"masks must be one of {_NEEDS}, got {masks!r}")
        self.masks = masks

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its tile in memory."""
        item: dict[Hashable, Any] = dict(data)
        path = str(item["image"])
        place = {key: item[key] for key in ("location", "size", "level") if key in item}
        pixels = read_tile_pixels(path, **place)
        meta: dict[str, Any] = {"filename_or_obj": path}
        if place:
            region = [*place["location"], *place["size"], place.get("level", -1)]
            meta["region"] = torch.tensor(region)  # what batches can hold
        item["image"] = MetaTensor(torch.tensor(pixels).permute(2, 1, 0).float(), meta=meta)
        given, annotation = item.get("label"), item.pop("mask", None)
        if isinstance(given, str):
            annotation = given
        elif given not in (0, 1):
            raise ValueError(f"{path}: expected the label 0 or 1, or the path of a mask, found {given!r}")
        mask = None
        if annotation is not None and (self.masks != "never" or isinstance(given, str)):
            mask = read_tile_mask(annotation, **place)
            if mask.shape != pixels.shape[:2]:
                raise ValueError(f"{annotation}: expected the size of its tile {pixels.shape[:2]}, found {mask.shape}")
        positive = bool(mask.any()) if isinstance(given, str) and mask is not None else bool(given)
        item["label"] = torch.tensor(float(positive))
        if self.masks != "never":
            item.update(self._with_mask(path, mask, positive, pixels.shape[:2]))
        return item

    def _with_mask(
        self, path: str, mask: NDArray[np.uint8] | None, positive: bool, shape: tuple[int, ...]
    ) -> dict[Hashable, Any]:
        if mask is None and positive and self.masks == "always":
            raise ValueError(f"{path}: expected a mask of this positive tile, found none")
        known = mask if mask is not None else np.zeros(shape, np.uint8)
        return {"mask": torch.tensor(known).T[None].float(), "has_mask": mask is not None or not positive}
