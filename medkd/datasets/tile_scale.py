"""The scale at which a network sees tiles: what a student needs to be shown whole slides in the same way."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["tile_scale"]

_logger = logging.getLogger(__name__)
_LOOKED_AT = 200  # tiles, evenly spread: headers of very many files take minutes
_SAME = 0.02  # relative; scanners of one kind differ by about a hundredth


def tile_scale(items: Sequence[Mapping[str, Any]], image_size: Sequence[int]) -> dict[str, float | None]:
    """Microns or level-0 pixels per pixel of the network's input, for tiles that are resized to ``image_size``.

    Args:
        items: of a datalist: tiles in files of their own, or ``location``, ``size`` and ``level`` in a slide.
        image_size: rows and columns of the network's input.

    Returns:
        The settings of ``slides.yaml``: ``mpp`` where all slides say their resolution and agree, ``downsample`` where
        all tiles have one scale (of tiles in files it is taken that their pixels are those of level 0), the other
        ``None``; empty where tiles have several scales.
    """
    chosen = [items[int(n)] for n in np.unique(np.linspace(0, len(items) - 1, _LOOKED_AT).round())] if items else []
    found = [_scale(item, image_size) for item in chosen]
    downsample, mpp = (_agreed(values) for values in zip(*found, strict=True)) if found else (None, None)
    if not downsample and not mpp:
        if items:
            _logger.warning("The tiles have several scales, or are squeezed: slides will need --downsample or --mpp.")
        return {}
    return {"downsample": None if mpp else downsample, "mpp": mpp}


def _scale(item: Mapping[str, Any], image_size: Sequence[int]) -> tuple[float | None, float | None]:
    """Level-0 pixels and microns per pixel of the input."""
    size, pixel, mpp = item.get("size"), 1.0, None
    if size is None:
        with Image.open(item["image"]) as image:
            size = image.size[::-1]
    elif item.get("level") is not None:
        from medkd.reading.slides import open_slide  # needs the extra "slides"

        slide = open_slide(item["image"])
        pixel, mpp = slide.downsamples[int(item["level"])], slide.mpp
    scale = _agreed([side / network for side, network in zip(size, image_size, strict=True)])
    scale = scale and scale * pixel
    return scale, scale and mpp and scale * mpp


def _agreed(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value]
    if not known or len(known) < len(list(values)) or max(known) > min(known) * (1 + _SAME):
        return None
    return float(np.median(known))
