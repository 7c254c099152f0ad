"""Contours of a probability map as GeoJSON that QuPath opens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from contourpy import FillType, contour_generator
from numpy.typing import NDArray

from medkd.files import atomic_path

__all__ = ["area", "find_contours", "moved", "threshold_of", "without_holes", "write_geojson"]

Ring = list[list[float]]
_COLOUR = (200, 0, 0)  # what QuPath gives to tumour


def find_contours(
    probability: NDArray[np.uint8] | NDArray[np.float32], *, threshold: float, scale: float, size: tuple[int, int]
) -> Iterator[list[Ring]]:
    """Polygons around what is above a threshold.

    Args:
        probability: ``[rows, columns]``, 0 to 255.
        threshold: probability from which on it is inside, in (0, 1).
        scale: level-0 pixels per pixel of ``probability``.
        size: rows and columns of the slide, where polygons end.

    Yields:
        Rings of ``[x, y]`` in level-0 pixels, from the corner of the first pixel: the outline, then its holes. Rings are
        closed; outlines and holes turn in opposite ways.
    """
    # Values belong to the centres of pixels; the rim of zeros closes what touches the border.
    padded = np.pad(probability, 1).astype(np.float64)  # what contourpy would copy it to
    places = [(np.arange(length) - 0.5) * scale for length in padded.shape]
    generator = contour_generator(places[1], places[0], padded, fill_type=FillType.OuterOffset)
    filled: Any = generator.filled(255 * threshold, 256.0)  # typed as what any kind of filling may give
    for points, ends in zip(*filled, strict=True):
        inside = np.clip(points, 0, (size[1], size[0])).round(2)
        yield [inside[a:b].tolist() for a, b in pairwise(ends)]


def without_holes(rings: list[Ring]) -> Ring:
    """One ring for formats that know no holes: it goes to every hole by the shortest way, around it, and back.

    Args:
        rings: the outline, then its holes, as ``find_contours`` gives them.
    """
    outline = rings[0]
    for hole in rings[1:]:
        corners = hole[:-1]
        distance = np.linalg.norm(np.array(outline)[:, None] - np.array(corners), axis=-1)
        start, entry = (int(n) for n in np.unravel_index(distance.argmin(), distance.shape))
        around = [*corners[entry:], *corners[: entry + 1]]
        outline = [*outline[: start + 1], *around, *outline[start:]]
    return outline


def area(ring: Ring) -> float:
    """What a ring encloses; of one ``without_holes`` their area does not count."""
    x, y = np.array(ring).T
    return float(abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2)


def moved(polygons: Iterable[list[Ring]], corner: tuple[int, int]) -> Iterator[list[Ring]]:
    """Polygons in the coordinates of programs that show a slide from another corner.

    Args:
        polygons: as ``find_contours`` gives them.
        corner: row and column that becomes the origin.
    """
    for rings in polygons:
        yield [(np.array(ring) - corner[::-1]).round(2).tolist() for ring in rings]


def threshold_of(path: Path) -> float | None:
    """At which probability a file's contours were drawn; ``None`` where it does not say, or is not there."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as file:
        found = re.search(r'"threshold": ([-+.0-9e]+)', file.readline(200))
    return float(found[1]) if found else None


def write_geojson(path: Path, polygons: Iterator[list[Ring]], *, class_name: str, threshold: float) -> int:
    """Write polygons as annotations of one class, feature by feature, atomically.

    Args:
        path: the file.
        polygons: as ``find_contours`` gives them.
        class_name: in QuPath.
        threshold: at which they were drawn; kept in the file.

    Returns:
        How many there are.
    """
    properties: dict[str, Any] = {"name": class_name, "color": list(_COLOUR)}
    properties = {"objectType": "annotation", "classification": properties}
    count = 0
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(f'{{"type": "FeatureCollection", "threshold": {threshold!r}, "features": [')
        for count, rings in enumerate(polygons, start=1):
            geometry = {"type": "Polygon", "coordinates": rings}
            feature = {"type": "Feature", "geometry": geometry, "properties": properties}
            file.write((",\n" if count > 1 else "\n") + json.dumps(feature))
        file.write("\n]}\n")
    return count
