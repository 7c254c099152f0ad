"""A small picture of a slide with its probability map over it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medkd.files import atomic_path
from medkd.reading.slides import open_slide
from medkd.slides.tissue import thumbnail

__all__ = ["write_slide_overlay"]

_COLOUR = (213, 94, 0)  # Okabe-Ito: told apart by everyone, and from haematoxylin and eosin
_STRENGTH = 0.65


def write_slide_overlay(
    path: Path, slide: Path, probability: NDArray[np.uint8], scale: float, *, longest: int = 2048
) -> None:
    """Write a PNG of the slide, the more coloured the more probable, atomically.

    Args:
        path: the PNG.
        slide: the slide's file.
        probability: ``[rows, columns]``, 0 to 255.
        scale: level-0 pixels of the slide per pixel of ``probability``.
        longest: pixels of the picture's longer side, at most.
    """
    pixels, downsample = thumbnail(open_slide(slide), longest)
    rows, columns = pixels.shape[:2]
    # The map ends with its last whole pixel, the picture with its own: both start at the slide's corner.
    ratio = downsample / scale
    needed = np.ceil((rows * ratio, columns * ratio)).astype(int)
    margin = [(0, max(0, int(n) - have)) for n, have in zip(needed, probability.shape, strict=True)]
    whole = Image.fromarray(np.pad(probability, margin))
    resized = whole.resize((columns, rows), Image.Resampling.BILINEAR, box=(0, 0, columns * ratio, rows * ratio))
    picture = Image.fromarray(pixels)
    picture.paste(_COLOUR, mask=resized.point(lambda value: round(value * _STRENGTH)))
    with atomic_path(path) as partial:
        picture.save(partial, format="PNG")
