"""Reading histology tiles: whole image files, or regions of larger images and slides, and their masks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from medkd.reading.frames import read_frame, to_mask, to_rgb

__all__ = ["read_tile_mask", "read_tile_pixels", "to_tile"]


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
    from medkd.reading.slides import open_slide, read_tile  # needs the extra "slides"

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
        from medkd.reading.annotations import rasterise

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
