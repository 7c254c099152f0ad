"""Pixels of whole slides, through MONAI's OpenSlide reader, and of large plain pictures, through Pillow.

Handles are opened when they are first needed and kept, a few per process: every worker of a ``DataLoader`` has its own.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import openslide
from monai.data.wsi_reader import WSIReader
from numpy.typing import NDArray
from PIL import Image

from medkd.reading.frames import read_frame, to_rgb
from medkd.reading.images import is_frame

__all__ = ["Slide", "open_slide", "read_tile"]

_KEPT_OPEN = 4
_LARGEST_PICTURE = 1 << 30  # pixels: a picture is decoded whole, 3 bytes a pixel
_PLAUSIBLE_MPP = (0.01, 100.0)  # scanners are between 0.1 and 10; 72 dpi of an image editor would be 353

Pixels = NDArray[np.uint8]


class Slide(ABC):
    """An open slide.

    Attributes:
        path: the file.
        size: rows and columns at level 0.
        level_sizes: rows and columns of every level.
        downsamples: level-0 pixels per pixel of every level; whole numbers where the levels' sizes allow them.
        mpp: microns per pixel at level 0, or ``None`` if the file does not say.
        corner: row and column at which the scanned part begins, in level-0 pixels: QuPath, which shows that part alone, counts from
            there. (0, 0) unless the file (of MIRAX, for example) says another.
    """

    path: Path
    corner: tuple[int, int] = (0, 0)
    level_sizes: list[tuple[int, int]]
    downsamples: list[float]
    mpp: float | None

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns at level 0."""
        return self.level_sizes[0]

    def best_level(self, downsample: float) -> int:
        """The coarsest level that is not coarser than ``downsample`` level-0 pixels per pixel."""
        return max(n for n, d in enumerate(self.downsamples) if n == 0 or d <= downsample * 1.001)

    def read_level(self, level: int, top: int, left: int, rows: int, columns: int) -> Pixels:
        """Pixels ``[rows, columns, 3]`` of a level, in that level's coordinates; white beyond the border.

        Raises:
            OSError: if the file cannot be read there, with its path and the place.
        """
        height, width = self.level_sizes[level]
        y0, y1 = (min(max(0, y), height) for y in (top, top + rows))
        x0, x1 = (min(max(0, x), width) for x in (left, left + columns))
        pixels = np.full((rows, columns, 3), 255, np.uint8)
        if y1 > y0 and x1 > x0:
            pixels[y0 - top : y1 - top, x0 - left : x1 - left] = self._inside(level, y0, x0, y1 - y0, x1 - x0)
        return pixels

    @abstractmethod
    def _inside(self, level: int, top: int, left: int, rows: int, columns: int) -> Pixels:
        """Pixels of a region that lies within the level."""


class _WholeSlide(Slide):
    """A file that OpenSlide knows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = WSIReader(backend="openslide", mode="RGBA")
        try:
            self._handle: Any = self._reader.read(str(path))
        except openslide.OpenSlideError as error:
            raise OSError(f"{path}: expected a slide that OpenSlide can read, found another kind ({error})") from error
        levels = range(self._reader.get_level_count(self._handle))
        self.level_sizes = [self._reader.get_size(self._handle, level) for level in levels]
        self._reported = [float(self._reader.get_downsample_ratio(self._handle, level)) for level in levels]
        self.downsamples = [
            _whole(self.level_sizes[0], s, d) for s, d in zip(self.level_sizes, self._reported, strict=True)
        ]
        self.mpp = _mpp(self._handle.properties)
        top, left = (int(self._handle.properties.get(f"openslide.bounds-{axis}", 0)) for axis in "yx")
        self.corner = (top, left)

    def _inside(self, level: int, top: int, left: int, rows: int, columns: int) -> Pixels:
        scale = self._reported[level]  # OpenSlide's own, with which it turns the place back into the level's
        location = (round(top * scale), round(left * scale))
        try:
            rgba, _ = self._reader.get_data(self._handle, location=location, size=(rows, columns), level=level)
        except openslide.OpenSlideError as error:
            _forget(self)  # OpenSlide refuses everything after an error
            place = f"{rows} × {columns} pixels of level {level} at row {location[0]}, column {location[1]}"
            raise OSError(f"{self.path}: expected {place}, found a damaged or shortened file ({error})") from error
        pixels: Pixels = np.moveaxis(rgba[:3], 0, -1)
        if not rgba[3].all():  # what was not scanned is transparent
            pixels = np.where(rgba[3, ..., None] == 0, np.uint8(255), pixels)
        return pixels


class _Picture(Slide):
    """A plain JPEG, PNG or TIFF: one level, decoded whole; the last two are kept."""

    def __init__(self, path: Path) -> None:
        self.path, self.mpp, self.downsamples = path, None, [1.0]
        rows, columns = _decoded(path).shape[:2]
        self.level_sizes = [(rows, columns)]

    def _inside(self, level: int, top: int, left: int, rows: int, columns: int) -> Pixels:
        return _decoded(self.path)[top : top + rows, left : left + columns]


_open: OrderedDict[tuple[str, int, int], Slide] = OrderedDict()
_inherited: list[Any] = []


def _after_fork() -> None:
    """A child must neither use nor close its parent's handles: they share their place in the file."""
    _inherited.append(dict(_open))
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def open_slide(path: str | Path) -> Slide:
    """An open slide; the last few of this process stay open.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if neither OpenSlide nor Pillow can read it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a slide, found no file there")
    state = path.stat()
    key = (str(path), state.st_mtime_ns, state.st_size)
    if key not in _open:
        known = openslide.OpenSlide.detect_format(str(path)) is not None
        _open[key] = _WholeSlide(path) if known or not is_frame(path) else _Picture(path)
    _open.move_to_end(key)
    while len(_open) > _KEPT_OPEN:
        _open.popitem(last=False)
    return _open[key]


def read_tile(path: str | Path, location: Sequence[int], size: Sequence[int], *, level: int = 0) -> Pixels:
    """Pixels of a slide or of a large picture.

    Args:
        path: the file.
        location: row and column of the upper left corner, in level-0 pixels.
        size: rows and columns of the tile, in pixels of ``level``.
        level: the slide's level to read from.

    Returns:
        Pixels ``[rows, columns, 3]`` in RGB of 8 bit; white beyond the slide's border.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it cannot be read, with its path and the place.
        ValueError: if it has no such level.
    """
    slide = open_slide(path)
    if not 0 <= level < len(slide.downsamples):
        raise ValueError(f"{path}: expected a level from 0 to {len(slide.downsamples) - 1}, got {level}")
    top, left = (round(place / slide.downsamples[level]) for place in location)
    return slide.read_level(level, top, left, *size)


def _whole(full: tuple[int, int], size: tuple[int, int], reported: float) -> float:
    """The downsample of a level. OpenSlide divides sizes that were rounded: of a level of 4 it says 4.016."""
    whole = round(reported)
    fits = all(abs(a / whole - b) < 1 for a, b in zip(full, size, strict=True))
    return float(whole) if fits else reported


def _mpp(properties: Any) -> float | None:
    """Mean of the microns per pixel of both directions, if the file says something plausible."""
    found = [properties.get(f"openslide.mpp-{axis}") for axis in "yx"]
    if not all(found):
        return None
    mean = sum(map(float, found)) / 2
    return mean if _PLAUSIBLE_MPP[0] < mean < _PLAUSIBLE_MPP[1] else None


def _forget(slide: Slide) -> None:
    for key in [key for key, kept in _open.items() if kept is slide]:
        del _open[key]


@lru_cache(maxsize=2)  # a picture and its mask
def _decoded(path: Path) -> Pixels:
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = _LARGEST_PICTURE // 2  # Pillow refuses twice its limit, and warns above it
    try:
        return np.asarray(read_frame(path, to_rgb))
    except (OSError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise OSError(f"{path}: expected a slide or a picture, found a file that cannot be read ({error})") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit
