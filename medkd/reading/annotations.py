"""Annotations of ASAP, as Camelyon16 has them: polygons of tumour, and of what is cut out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

__all__ = ["Annotation", "rasterise", "read_annotation"]

_TUMOUR = {"tumor", "tumour", "_0", "_1", "metastases"}
_EXCLUDED = {"exclusion", "exclude", "_2", "normal"}


@dataclass(frozen=True)
class Annotation:
    """Polygons ``[N, 2]`` of x and y in level-0 pixels: tumour, and parts of it that are none."""

    path: Path
    tumour: tuple[NDArray[np.float64], ...]
    excluded: tuple[NDArray[np.float64], ...]

    def problems(self, size: tuple[int, int]) -> list[str]:
        """Points outside a slide of so many rows and columns, a polygon a line."""
        found = []
        for polygon in (*self.tumour, *self.excluded):
            outside = polygon[((polygon < 0) | (polygon > (size[1], size[0]))).any(1)]
            if len(outside):
                x, y = outside[0]
                found.append(
                    f"{self.path}: expected points within the slide of {size[1]} × {size[0]} pixels, found "
                    f"({x:g}, {y:g}) and {len(outside) - 1} more outside"
                )
        return found


@lru_cache(maxsize=8)
def read_annotation(path: str | Path) -> Annotation:
    """Read an XML file of ASAP.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is another kind of file, has no tumour, or a group that is neither tumour nor exclusion.
    """
    path = Path(path)
    try:
        root = ET.parse(path).getroot()  # noqa: S314 - a local file that the user chose
        found = [(entry.get("PartOfGroup", ""), _points(entry)) for entry in root.iter("Annotation")]
    except (ET.ParseError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected an annotation of ASAP in XML, found something else ({error})") from error
    strange = sorted({group for group, _ in found if group.lower() not in _TUMOUR | _EXCLUDED})
    if strange:
        raise ValueError(f"{path}: expected the groups Tumor, Exclusion, _0, _1 or _2, found {', '.join(strange)}")
    kinds = [
        tuple(points for group, points in found if group.lower() in kind and len(points) > 2)
        for kind in (_TUMOUR, _EXCLUDED)
    ]
    if not kinds[0]:
        raise ValueError(f"{path}: expected a polygon of tumour, found none")
    return Annotation(path, *kinds)


def rasterise(
    annotation: str | Path | Annotation, location: Sequence[int], size: Sequence[int], downsample: float = 1
) -> NDArray[np.uint8]:
    """The tumour in a tile.

    Args:
        annotation: an XML file of ASAP, or one that was read.
        location: row and column of the tile's upper left corner in level-0 pixels.
        size: rows and columns of the result.
        downsample: level-0 pixels per pixel of the result.

    Returns:
        Mask ``[rows, columns]``: 1 where a pixel's centre lies in a tumour and in no exclusion, else 0.
    """
    if not isinstance(annotation, Annotation):
        annotation = read_annotation(annotation)
    shape, origin = (size[0], size[1]), np.array([location[1], location[0]], float)
    masks = []
    for polygons in (annotation.tumour, annotation.excluded):
        mask = np.zeros(shape, bool)
        for polygon in polygons:
            mask |= _inside((polygon - origin) / downsample, shape)
        masks.append(mask)
    tumour: NDArray[np.uint8] = (masks[0] & ~masks[1]).astype(np.uint8)
    return tumour


def _points(entry: ET.Element) -> NDArray[np.float64]:
    """Corners of one polygon; rectangles and splines are given by their corners too."""
    places = [(float(c.get("X", "")), float(c.get("Y", ""))) for c in entry.iter("Coordinate")]
    return np.array(places, float).reshape(-1, 2)


def _inside(polygon: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Even-odd rule at the centres of pixels. Pillow and others also fill pixels that an edge only touches."""
    if (polygon.max(0) <= 0).any() or (polygon.min(0) >= shape[::-1]).any():
        return np.zeros(shape, bool)
    start, end = polygon, np.roll(polygon, -1, 0)
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first, last = (np.clip(np.ceil(y - 0.5), 0, shape[0]).astype(int) for y in (low, high))
    counts = last - first
    edge = np.repeat(np.arange(len(polygon)), counts)
    row = np.arange(len(edge)) - np.repeat(counts.cumsum() - counts, counts) + first[edge]
    # Every edge that a row's centres cross turns inside into outside from there on.
    share = (row + 0.5 - start[edge, 1]) / (end[edge, 1] - start[edge, 1])
    x = start[edge, 0] + share * (end[edge, 0] - start[edge, 0])
    column = np.clip(np.ceil(x - 0.5), 0, shape[1]).astype(int)
    turns = np.zeros((shape[0], shape[1] + 1), np.int64)
    np.add.at(turns, (row, column), 1)
    inside: NDArray[np.bool_] = turns.cumsum(1)[:, :-1] % 2 == 1
    return inside
