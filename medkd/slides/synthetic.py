"""A slide made here: glass, a disc of tissue, and in it a ring of tumour whose every pixel is known."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import hypot
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import tifffile
from numpy.typing import NDArray

from medkd.files import atomic_path

__all__ = ["SyntheticSlide", "make_slide", "write_annotation"]

_TILE = 256
_SMALLEST = 1024  # pixels of the longer side: the coarsest level is no longer
_COLOURS = np.array([[243, 243, 243], [226, 168, 204], [128, 92, 172]], np.uint8)  # glass, tissue, tumour


@dataclass(frozen=True)
class SyntheticSlide:
    """Where glass, tissue and tumour are, in level-0 pixels.

    Args:
        size: rows and columns.
        tissue_diameter: of the disc of tissue in the middle; 0 makes an empty slide. The ring of tumour has half of it
            outside, and a fifth inside.
    """

    size: tuple[int, int]
    tissue_diameter: float

    def classes(self, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.uint8]:
        """0 glass, 1 tissue, 2 tumour ``[rows, columns]`` at places in level-0 pixels (centres end in .5)."""
        y, x = rows[:, None] - self.size[0] / 2, columns[None] - self.size[1] / 2
        diameter = 2 * np.sqrt(y * y + x * x)
        whole = self.tissue_diameter
        tumour = (diameter < 0.5 * whole) & (diameter >= 0.2 * whole)
        return np.where(tumour, 2, diameter < whole).astype(np.uint8)

    def polygons(self, corners: int = 720) -> dict[str, NDArray[np.float64]]:
        """The ring as ASAP would have it, ``{"Tumor": [N, 2], "Exclusion": [N, 2]}`` of x and y."""
        angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
        circle = np.stack([np.cos(angle), np.sin(angle)], 1) * self.tissue_diameter / 2
        centre = np.array([self.size[1], self.size[0]]) / 2
        return {"Tumor": centre + 0.5 * circle, "Exclusion": centre + 0.2 * circle}

    def tile(self, top: int, left: int, scale: int) -> bytes:
        """A compressed tile of the level with so many level-0 pixels per pixel; tiles of one class are kept."""
        places = [(np.arange(_TILE) + first + 0.5) * scale for first in (top, left)]
        corners = self.classes(places[0][[0, -1]], places[1][[0, -1]])
        if (corners == corners[0, 0]).all() and not self._crossed(places):
            return self._plain[int(corners[0, 0])]
        return _compressed(self.classes(*places))

    def _crossed(self, places: Sequence[NDArray[Any]]) -> bool:
        """Whether a border may pass through a tile whose corners are of one class: by the nearest and farthest point."""
        away = [p - side / 2 for p, side in zip(places, self.size, strict=True)]
        near = hypot(*(0.0 if a[0] < 0 < a[-1] else min(abs(a[0]), abs(a[-1])) for a in away))
        far = hypot(*(max(abs(a[0]), abs(a[-1])) for a in away))
        radii = np.array([0.2, 0.5, 1]) * self.tissue_diameter / 2
        return bool(((near < radii) & (radii <= far)).any())

    @cached_property
    def _plain(self) -> list[bytes]:
        return [_compressed(np.full((_TILE, _TILE), number, np.uint8)) for number in range(len(_COLOURS))]


def make_slide(
    path: str | Path,
    size: tuple[int, int],
    *,
    tissue_diameter: float | None = None,
    mpp: float | None = 0.5,
    pyramid: bool = True,
) -> SyntheticSlide:
    """Write a tiled TIFF that OpenSlide opens, tile by tile; the same every time.

    Args:
        path: the file to write.
        size: rows and columns at level 0.
        tissue_diameter: in level-0 pixels; by default 0.8 of the shorter side.
        mpp: microns per pixel for the metadata; ``None`` for a slide that does not say.
        pyramid: also write levels of 2, 4, … level-0 pixels per pixel, until one is small.

    Returns:
        What is where.
    """
    slide = SyntheticSlide(size, 0.8 * min(size) if tissue_diameter is None else tissue_diameter)
    scales = [1]
    while pyramid and max(size) / scales[-1] > _SMALLEST:
        scales.append(scales[-1] * 2)
    options: dict[str, Any] = {"dtype": np.uint8, "tile": (_TILE, _TILE), "photometric": "rgb", "compression": "zlib"}
    with atomic_path(path) as partial, tifffile.TiffWriter(partial, bigtiff=max(size) > 30_000) as file:
        for scale in scales:
            if mpp is not None:
                options |= {"resolution": (1e4 / mpp / scale,) * 2, "resolutionunit": "CENTIMETER"}
            shape = (size[0] // scale, size[1] // scale, 3)
            file.write(_tiles(slide, shape, scale), shape=shape, subfiletype=int(scale > 1), metadata=None, **options)
    return slide


def write_annotation(path: str | Path, polygons: dict[str, NDArray[Any]]) -> None:
    """Write polygons ``{group: [N, 2] of x and y}`` as ASAP does."""
    root = ET.Element("ASAP_Annotations")
    entries = ET.SubElement(root, "Annotations")
    for number, (group, points) in enumerate(polygons.items()):
        attributes = {"Name": f"Annotation {number}", "Type": "Polygon", "PartOfGroup": group, "Color": "#F4FA58"}
        places = ET.SubElement(ET.SubElement(entries, "Annotation", attributes), "Coordinates")
        for order, (x, y) in enumerate(points):
            ET.SubElement(places, "Coordinate", {"Order": str(order), "X": f"{x:.4f}", "Y": f"{y:.4f}"})
    with atomic_path(path) as partial:
        ET.ElementTree(root).write(partial, encoding="utf-8", xml_declaration=True)


def _tiles(slide: SyntheticSlide, shape: Sequence[int], scale: int) -> Iterator[bytes]:
    for top in range(0, shape[0], _TILE):
        for left in range(0, shape[1], _TILE):
            yield slide.tile(top, left, scale)


def _compressed(classes: NDArray[np.uint8]) -> bytes:
    """Colours of the classes; the same few shades of stain in every tile, so that it compresses."""
    y, x = np.mgrid[:_TILE, :_TILE] * (2 * np.pi * 8 / _TILE)
    shade = (6 * np.sin(x) * np.cos(y)).astype(np.int16)[..., None] * (classes > 0)[..., None]
    pixels = (_COLOURS[classes].astype(np.int16) + shade).astype(np.uint8)
    return zlib.compress(pixels.tobytes(), 6)
