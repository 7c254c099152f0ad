"""What image files of any kind become: upright RGB frames of 8 bit, and masks of 0 and 1. For MONAI's ``PILReader``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

__all__ = ["read_frame", "to_mask", "to_rgb"]


def read_frame(path: str | Path, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """A picture file, converted by ``to_rgb``, ``to_mask`` or the like.

    Raises:
        OSError: if it cannot be decoded.
    """
    with Image.open(path) as opened:
        return convert(opened)


def to_rgb(image: Image.Image) -> Image.Image:
    """An upright RGB image of 8 bit from grey, 16-bit, palette and transparent ones; transparency is dropped.

    Raises:
        ValueError: for a picture of floating-point numbers, whose white nobody knows.
    """
    if image.mode == "F":
        raise ValueError("expected a picture of 8 or 16 bit, found floating-point numbers")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bit, or 32 that hold 16; some writers put 8-bit values there
        values = np.asarray(image).astype(np.int64).clip(0)
        image = Image.fromarray((values // (257 if values.max() > 255 else 1)).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def to_mask(image: Image.Image) -> Image.Image:
    """An upright mask of 0 and 1 from one of 0 and 1, or of black and white: there half of white and more is foreground.

    Of a palette image with two entries the entries count, not their colours.

    Raises:
        ValueError: if the brightest value is neither 0, 1 nor at least half of white, so that nobody can tell what it
            means.
    """
    upright = ImageOps.exif_transpose(image)
    values = np.asarray(upright)
    if values.ndim != 2 or values.max() > 1:  # otherwise these are the classes, in whatever kind of file
        values = np.asarray(to_rgb(upright).convert("L"))
    white = int(values.max())
    if 1 < white < 128:
        raise ValueError(f"expected a mask of 0 and 1 or of 0 and 255, found values up to {white}")
    return Image.fromarray((values >= max(1, min(white, 128))).astype(np.uint8))
