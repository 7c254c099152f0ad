"""Reading histology tiles: whole image files, or regions of larger images and slides, with their image-level label."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
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


def read_tile_pixels(
    path: str, location: Sequence[int] | None = None, size: Sequence[int] | None = None, level: int | None = None
) -> NDArray[np.uint8]:
    """A tile in RGB, ``[H, W, 3]``.

    Args:
        path: an image file, or a slide.
        location: row and column of the upper left pixel, at level 0; ``None`` for the whole file.
        size: rows and columns of the tile.
        level: of a slide; ``None`` for an image that is decoded whole.

    Raises:
        ValueError: if the region is not inside the image.
        OSError: if the file cannot be decoded.
    """
    if level is None or location is None or size is None:
        return _cut(path, _decoded(path), location, size)
    from medkd.slides.reading import open_slide, read_tile  # needs the extra "slides"

    slide = open_slide(path)
    if not 0 <= level < len(slide.downsamples):
        raise ValueError(f"{path}: expected a level below {len(slide.downsamples)}, got {level}")
    # Beyond the border a slide is white: nobody would notice a wrong place.
    extent = [place + length * slide.downsamples[level] for place, length in zip(location, size, strict=True)]
    if min(location) < 0 or any(end > side for end, side in zip(extent, slide.size, strict=True)):
        raise _outside(path, slide.size, location, size)
    return read_tile(path, location, size, level=level)


def read_tile_mask(
    path: str, location: Sequence[int] | None = None, size: Sequence[int] | None = None, level: int | None = None
) -> NDArray[np.uint8]:
    """A tile's mask of 0 and 1, ``[H, W]``; arguments and errors as those of ``read_tile_pixels``.

    Beside a slide's annotation (XML) the level must be 0.
    """
    if level is None or location is None or size is None:
        return _cut(path, _decoded_mask(path), location, size)
    if path.endswith(".xml"):
        if level != 0:
            raise ValueError(f"{path}: expected a tile of level 0 beside an annotation, got one of level {level}")
        from medkd.slides.annotations import rasterise

        return rasterise(path, location, size)
    return (read_tile_pixels(path, location, size, level)[..., 0] > 127).astype(np.uint8)  # JPEG blurs black and white


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


def _cut(
    path: str, image: NDArray[np.uint8], location: Sequence[int] | None, size: Sequence[int] | None
) -> NDArray[np.uint8]:
    if location is None or size is None:
        return image
    (top, left), (height, width) = location, size
    tile = image[top : top + height, left : left + width]
    if min(top, left) < 0 or tile.shape[:2] != (height, width):
        raise _outside(path, image.shape, location, size)
    return tile


def _outside(path: str, shape: Sequence[int], location: Sequence[int], size: Sequence[int]) -> ValueError:
    place = f"{size[0]} × {size[1]} at ({location[0]}, {location[1]})"
    return ValueError(f"{path}: expected a region inside its {tuple(shape[:2])} pixels, got {place}")
