"""What is to be done: slides, their resolution, and their tiles with tissue, all checked before any is begun."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medkd.errors import DataError
from medkd.reading.images import FRAME_SUFFIXES
from medkd.reading.slides import open_slide
from medkd.slides.grid import Grid
from medkd.slides.resolution import network_downsample
from medkd.slides.tissue import tissue_mask

__all__ = [
    "CONTOURS_SUFFIX",
    "MAP_SUFFIX",
    "OVERLAY_SUFFIX",
    "SLIDE_SUFFIXES",
    "SlidePlan",
    "find_slides",
    "plan_slides",
]

MAP_SUFFIX = "_probability.ome.tif"
CONTOURS_SUFFIX = "_contours.geojson"
OVERLAY_SUFFIX = "_overlay.png"
SLIDE_SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".svslide", ".vms", ".vmu", ".czi", *FRAME_SUFFIXES)


@dataclass(frozen=True)
class SlidePlan:
    """A slide, its grid, the tiles to look at, and its microns per pixel at level 0 where they are known."""

    path: Path
    grid: Grid
    tiles: NDArray[np.int64]
    mpp: float | None

    def settings(self) -> dict[str, Any]:
        """What the map depends on, as far as the slide and its tiles go; JSON."""
        grid = self.grid
        return {
            "slide": {"name": self.path.name, "bytes": self.path.stat().st_size, "digest": _digest(self.path)},
            "downsample": grid.downsample,
            "tile_size": grid.tile_size,
            "halo": grid.halo,
            "map_downsample": grid.map_downsample,
            "tiles": len(self.tiles),
        }


def plan_slides(
    source: str | Path,
    *,
    mpp: float | None = None,
    downsample: float | None = None,
    slide_mpp: float | None = None,
    tissue: bool = True,
    smoothing: float = 0.0,
    **grid: int,
) -> list[SlidePlan]:
    """Look at every slide: can it be opened, is its resolution known, where is its tissue.

    Args:
        source: a slide, or a folder of slides.
        mpp: microns per pixel of the network's input.
        downsample: level-0 pixels per pixel of the network's input, instead of ``mpp``.
        slide_mpp: microns per pixel at level 0, for slides whose files do not say.
        tissue: look at tiles with tissue alone; ``False`` looks at all.
        smoothing: sigma of the Gaussian that the maps of tiles are smoothed with, in pixels of the network's input.
        **grid: ``tile_size``, ``halo`` and ``map_downsample`` of ``Grid``.

    Raises:
        FileNotFoundError: if there is no slide.
        ValueError: if the halo is narrower than the smoothing reaches: the tiles' borders would show in the map.
        DataError: with every problem of every slide.
    """
    if grid.get("halo", Grid.halo) < 3 * smoothing:
        raise ValueError(
            f"expected a halo of at least 3 × smoothing = {3 * smoothing:g}, got {grid.get('halo', Grid.halo)}"
        )
    problems, plans = [], []
    for path in find_slides(source):
        try:
            slide = open_slide(path)
            scale = network_downsample(slide, mpp=mpp, downsample=downsample, slide_mpp=slide_mpp)
            layout = Grid(slide.size, scale, **grid)
            tiles = layout.tiles_on(*tissue_mask(slide)) if tissue else np.arange(layout.shape[0] * layout.shape[1])
            plans.append(SlidePlan(path, layout, tiles, slide.mpp or slide_mpp))
        except (OSError, ValueError) as error:  # noqa: PERF203 - all problems at once
            problems.append(str(error) if str(path) in str(error) else f"{path}: {error}")
    if problems:
        raise DataError(source, problems)
    return plans


def find_slides(source: str | Path) -> list[Path]:
    """The slides that a path names: itself, or those in the folder (maps made here are passed over).

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if two slides would give results of one name.
    """
    source = Path(source)
    found = [source] if source.is_file() else sorted(p for p in source.glob("[!.]*") if _is_slide(p))
    if not found:
        raise FileNotFoundError(f"{source}: expected a slide or a folder of {', '.join(SLIDE_SUFFIXES)}, found none")
    count = Counter(path.stem for path in found)
    twice = [path.name for path in found if count[path.stem] > 1]
    if twice:
        raise ValueError(f"{source}: expected slides of different names, or one result would replace another: {twice}")
    return found


def _is_slide(path: Path) -> bool:
    return path.suffix.lower() in SLIDE_SUFFIXES and path.is_file() and not _is_made_here(path)


def _is_made_here(path: Path) -> bool:
    """Whether it is a map, or the picture that is put beside one, after the contours."""
    of = path.name.removesuffix(OVERLAY_SUFFIX)
    beside = (path.with_name(f"{of}{suffix}").is_file() for suffix in (MAP_SUFFIX, CONTOURS_SUFFIX))
    return path.name.endswith(MAP_SUFFIX) or (of != path.name and any(beside))


def _digest(path: Path, block: int = 1 << 20) -> str:
    """SHA-256 of the first and last MiB: slides have gigabytes, and scanners write times and places there."""
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(block))
        file.seek(max(0, os.fstat(file.fileno()).st_size - block))
        digest.update(file.read(block))
    return digest.hexdigest()
