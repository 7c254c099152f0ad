"""Reading histology tiles: whole image files, or regions of larger images and slides, with their image-level label."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from numpy.typing import NDArray
from PIL import Image, ImageOps

from medkd.transforms.frames import read_frame, to_mask, to_rgb

__all__ = ["LoadTiled", "read_tile_mask", "read_tile_pixels", "to_tile"]

_NEEDS = ("never", "available", "always")


class LoadTiled(Transform):
    """Load a tile, its image-level label and, where asked, its mask; x first, as MONAI's readers have it.

    In: ``image``, a path; optionally ``location`` (row and column of the tile's upper left pixel) and ``size`` (rows and
    columns) where the tile is part of that image; ``label``: 0 or 1, or the path of a mask, which is positive where
    it holds any foreground; optionally ``mask``, a path.

    Out: ``image`` ``[3, W, H]`` in [0, 255], ``label`` (a float scalar), ``positive`` (the same as a bool), and with
    ``masks`` also ``mask`` ``[1, W, H]`` of 0 and 1 and ``has_mask``. A negative tile needs no file for its empty mask.

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
        path, region = str(item["image"]), (item.get("location"), item.get("size"))
        pixels = read_tile_pixels(path, *region)
        meta: dict[str, Any] = {"filename_or_obj": path}
        if region[0] is not None:
            meta["region"] = torch.tensor([*region[0], *region[1]])  # what batches are made of
        item["image"] = MetaTensor(torch.tensor(pixels).permute(2, 1, 0).float(), meta=meta)
        given = item.get("label")
        source = given if isinstance(given, str) else item.pop("mask", None)
        mask = None
        if source is not None and (self.masks != "never" or isinstance(given, str)):
            mask = read_tile_mask(source, *region)
            if mask.shape != pixels.shape[:2]:
                raise ValueError(f"{source}: expected the size of its tile {pixels.shape[:2]}, found {mask.shape}")
        item["positive"] = bool(mask.any()) if isinstance(given, str) and mask is not None else bool(given)
        item["label"] = torch.tensor(float(item["positive"]))
        if self.masks != "never":
            item |= self._with_mask(path, mask, item["positive"], pixels.shape[:2])
        return item

    def _with_mask(
        self, path: str, mask: NDArray[np.uint8] | None, positive: bool, shape: tuple[int, ...]
    ) -> dict[str, Any]:
        if mask is None and positive and self.masks == "always":
            raise ValueError(f"{path}: expected a mask of this positive tile, found none")
        known = mask if mask is not None and positive else np.zeros(shape, np.uint8)
        return {"mask": torch.tensor(known).T[None].float(), "has_mask": mask is not None or not positive}


def read_tile_pixels(path: str, location: Any = None, size: Any = None) -> NDArray[np.uint8]:
    """A tile in RGB, ``[H, W, 3]``, of an image file or of a slide.

    Args:
        path: the file.
        location: row and column of the upper left pixel; ``None`` for the whole file.
        size: rows and columns.

    Raises:
        ValueError: if the region is not inside the image.
        OSError: if the file cannot be decoded.
    """
    return _cut(path, _decoded(path), location, size)


def read_tile_mask(path: str, location: Any = None, size: Any = None) -> NDArray[np.uint8]:
    """A tile's mask of 0 and 1, ``[H, W]``; arguments and errors as those of ``read_tile_pixels``."""
    return _cut(path, _decoded_mask(path), location, size)


def to_tile(image: Image.Image) -> Image.Image:
    """An upright RGB tile of 8 bit; what is transparent becomes white, as the glass beside the tissue is."""
    if "A" in image.getbands() or "transparency" in image.info:
        upright = ImageOps.exif_transpose(image).convert("RGBA")
        white = Image.new("RGBA", upright.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, upright).convert("RGB")
    return to_rgb(image)


@lru_cache(maxsize=2)  # tiles come image by image
def _decoded(path: str) -> NDArray[np.uint8]:
    return np.asarray(read_frame(path, to_tile))


@lru_cache(maxsize=2)
def _decoded_mask(path: str) -> NDArray[np.uint8]:
    return np.asarray(read_frame(path, to_mask))


def _cut(path: str, image: NDArray[np.uint8], location: Any, size: Any) -> NDArray[np.uint8]:
    if location is None:
        return image
    (top, left), (height, width) = location, size
    tile = image[top : top + height, left : left + width]
    if min(top, left) < 0 or tile.shape[:2] != (height, width):
        raise ValueError(
            f"{path}: expected a region inside its {image.shape[:2]} pixels, got {height} × {width} at ({top}, {left})"
        )
    return tile
