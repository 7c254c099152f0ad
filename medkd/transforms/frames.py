"""What image files of any kind become: upright RGB frames of 8 bit, and masks of 0 and 1. For MONAI's ``PILReader``."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

__all__ = ["to_mask", "to_rgb"]


def to_rgb(image: Image.Image) -> Image.Image:
    """An upright RGB image of 8 bit from grey, 16-bit, palette and transparent ones; transparency is dropped."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bit, or 32 that hold 16
        image = Image.fromarray((np.asarray(image).astype(np.uint32) // 257).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def to_mask(image: Image.Image) -> Image.Image:
    """An upright mask of 0 and 1 from one of 0 and 1, or of black and white: there half of white and more is foreground.

    Raises:
        ValueError: if the brightest value is neither 0, 1 nor at least 128, so that nobody can tell what it means.
    """
    grey = to_rgb(image).convert("L")
    white = int(np.asarray(grey).max())
    if 1 < white < 128:
        raise ValueError(f"expected a mask of 0 and 1 or of 0 and 255, found values up to {white}")
    return grey if white <= 1 else grey.point(lambda value: int(value >= 128))
