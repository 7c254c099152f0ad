"""Begin the maps of slides, and turn a finished one into its three files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medkd.errors import DataError
from medkd.files import atomic_path, sha256
from medkd.reading.slides import open_slide
from medkd.slides.contours import find_contours, moved, threshold_of, write_geojson
from medkd.slides.overlay import write_slide_overlay
from medkd.slides.plan import CONTOURS_SUFFIX, OVERLAY_SUFFIX, SlidePlan
from medkd.slides.probability_map import ProbabilityMap, naming
from medkd.slides.pyramid import Level, build_levels, read_level, write_pyramid

__all__ = ["finish_map", "open_maps"]

_logger = logging.getLogger(__name__)
_LONGEST = 4096  # pixels of the level that contours and pictures are made from: they do not grow with the slide


def open_maps(
    plans: Iterable[SlidePlan], output_dir: str | Path, weights: str | Path, settings: Mapping[str, Any] | None = None
) -> list[ProbabilityMap]:
    """The maps to fill: new, begun by an earlier run, or whole.

    Args:
        plans: the slides.
        output_dir: folder of the results.
        weights: the network's file; a map that was begun with other weights is refused.
        settings: what else the maps depend on, JSON. The batch size does not matter.

    Raises:
        FileNotFoundError: if there are no weights.
        DataError: with every map that was made or begun with other settings.
    """
    if not Path(weights).is_file():
        raise FileNotFoundError(f"{weights}: expected a trained model, found nothing there")
    known, maps, problems = {**(settings or {}), "weights": sha256(weights)}, [], []
    for plan in plans:
        try:
            maps.append(ProbabilityMap(plan, output_dir, known))
        except ValueError as error:  # noqa: PERF203 - all problems at once
            problems.append(str(error))
    if problems:
        raise DataError(output_dir, problems)
    return maps


def finish_map(made: ProbabilityMap, *, threshold: float = 0.5, class_name: str = "tumour") -> None:
    """Write ``NAME_contours.geojson``, ``NAME_overlay.png`` and, last, ``NAME_probability.ome.tif``.

    Of a map that is whole only contours of another threshold are drawn again.

    Args:
        made: a map without remaining tiles.
        threshold: probability from which on a contour includes, in (0, 1).
        class_name: of the contours in QuPath.

    Raises:
        ValueError: if tiles remain.
        OSError: if a file cannot be written; the map can be finished later then.
    """
    if len(made.remaining):
        raise ValueError(f"{made.path}: expected every tile to be done, {len(made.remaining)} remain")
    plan, stem = made.plan, made.plan.path.stem
    names = f"{stem}{CONTOURS_SUFFIX}", f"{stem}{OVERLAY_SUFFIX}"
    if made.whole:
        made.remove()  # all that an earlier run may have left is its working folder
        contours = made.path.with_name(names[0])
        if threshold_of(contours) != threshold:
            _logger.info("%s: drawn again, from %s on", contours, threshold)
            with naming(contours):
                probability, scale = read_level(made.path, _LONGEST)
                _draw(contours, plan, probability, scale * plan.grid.scale, threshold, class_name)
        return
    contours, overlay = (made.folder / name for name in names)
    with naming(made.path):
        levels = build_levels(Level(made.raw, plan.grid.map_shape, plan.grid.scale))
        small = next(level for level in levels if max(level.shape) <= _LONGEST)
        probability = small.array()
        _draw(contours, plan, probability, small.scale, threshold, class_name)
        write_slide_overlay(overlay, plan.path, probability, small.scale)
        with atomic_path(made.folder / made.path.name) as partial:
            write_pyramid(partial, levels, mpp=plan.mpp, settings=made.settings)
        for file in (contours, overlay, made.folder / made.path.name):  # whoever finds the map finds all three
            file.replace(made.path.with_name(file.name))
    made.remove()


def _draw(
    path: Path, plan: SlidePlan, probability: NDArray[np.uint8], scale: float, threshold: float, class_name: str
) -> None:
    """Contours in QuPath's coordinates, which begin where the scanned part does."""
    polygons = find_contours(probability, threshold=threshold, scale=scale, size=plan.grid.size)
    polygons = moved(polygons, open_slide(plan.path).corner)
    write_geojson(path, polygons, class_name=class_name, threshold=threshold)
