"""A finished map becomes a tiled pyramidal OME-TIFF, strip by strip."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import tifffile
from numpy.typing import NDArray

__all__ = ["Level", "build_levels", "read_level", "read_settings", "write_pyramid"]

_TILE = 256
_SMALLEST = 512  # pixels of the longer side: the coarsest level is no longer
_OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


class Level:
    """A level of bytes in a file, row by row.

    Args:
        path: the file.
        shape: rows and columns.
        scale: level-0 pixels of the slide per pixel.
    """

    def __init__(self, path: Path, shape: tuple[int, int], scale: float) -> None:
        self.path, self.shape, self.scale = path, shape, scale

    def strips(self, rows: int) -> Iterator[NDArray[np.uint8]]:
        """Strips ``[rows, columns]`` from top to bottom; the last may be lower."""
        with self.path.open("rb") as file:
            for top in range(0, self.shape[0], rows):
                height = min(rows, self.shape[0] - top)
                block = file.read(height * self.shape[1])
                yield np.frombuffer(block, np.uint8).reshape(height, self.shape[1])

    def array(self) -> NDArray[np.uint8]:
        """All of it ``[rows, columns]``; for small levels."""
        return np.fromfile(self.path, np.uint8).reshape(self.shape)


def build_levels(finest: Level) -> list[Level]:
    """Halve a level until it is small; each is written beside the last. Means of two by two pixels.

    Returns:
        The levels, the finest first.
    """
    levels = [finest]
    while max(levels[-1].shape) > _SMALLEST:
        above = levels[-1]
        shape = (-(-above.shape[0] // 2), -(-above.shape[1] // 2))
        level = Level(finest.path.with_name(f"level{len(levels)}.u8"), shape, above.scale * 2)
        with level.path.open("wb") as file:
            for strip in above.strips(2 * _TILE):
                file.write(_halved(strip).tobytes())
        levels.append(level)
    return levels


def write_pyramid(path: Path, levels: Sequence[Level], *, mpp: float | None, settings: Mapping[str, Any]) -> None:
    """Write levels as the OME-TIFF's image and its SubIFDs.

    Args:
        path: the file to write.
        levels: from fine to coarse.
        mpp: microns per level-0 pixel of the slide; without it the file has no physical size.
        settings: kept as JSON in the image's description.
    """
    finest = levels[0]
    pixels = sum(level.shape[0] * level.shape[1] for level in levels)
    description = json.dumps(dict(settings), sort_keys=True)
    # The file is to be the same whenever it is made: a name from its content instead of a random one.
    metadata: dict[str, Any] = {"axes": "YX", "Description": description}
    metadata["UUID"] = uuid.uuid5(uuid.NAMESPACE_URL, description).urn
    options: dict[str, Any] = {}
    if mpp is not None:
        size = mpp * finest.scale
        metadata |= {f"PhysicalSize{axis}": size for axis in "XY"}
        metadata |= {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
        options = {"resolution": (1e4 / size, 1e4 / size), "resolutionunit": "CENTIMETER"}
    options |= {"dtype": np.uint8, "tile": (_TILE, _TILE), "photometric": "minisblack", "compression": "zlib"}
    with tifffile.TiffWriter(path, ome=True, bigtiff=pixels > 2**31) as file:
        subifds = len(levels) - 1
        file.write(_tiles(finest), shape=finest.shape, subifds=subifds, metadata=metadata, **options)
        options.pop("resolution", None)
        for level in levels[1:]:
            file.write(_tiles(level), shape=level.shape, subfiletype=1, **options)


def read_level(path: Path, longest: int) -> tuple[NDArray[np.uint8], float]:
    """The finest level of a map whose sides are no longer, and pixels of the finest of all per pixel of it.

    Args:
        path: the map.
        longest: of the sides, at least that of the coarsest level.
    """
    with tifffile.TiffFile(path) as tif:
        number, level = next(
            (number, level) for number, level in enumerate(tif.series[0].levels) if max(level.shape) <= longest
        )
        return level.asarray(), float(2**number)


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in a map's description; nothing if it is another kind of file."""
    try:
        with tifffile.TiffFile(path) as file:
            found = ET.fromstring(file.ome_metadata or "<none/>").find(f"{_OME}Image/{_OME}Description")  # noqa: S314
        settings: dict[str, Any] = json.loads(found.text or "") if found is not None else {}
    except (tifffile.TiffFileError, ET.ParseError, ValueError):
        return {}
    return settings


def _halved(strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Means of two by two, rounded; the last row or column counts twice where it is alone."""
    rows, columns = strip.shape
    even = np.pad(strip, ((0, rows % 2), (0, columns % 2)), mode="edge").astype(np.uint16)
    total = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return ((total + 2) // 4).astype(np.uint8)


def _tiles(level: Level) -> Iterator[NDArray[np.uint8]]:
    for strip in level.strips(_TILE):
        for left in range(0, level.shape[1], _TILE):
            yield strip[:, left : left + _TILE]
