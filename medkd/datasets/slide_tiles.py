"""What datasets of slides share: tiles with tissue, their share of tumour, their split, and the datalist of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medkd.datasets.datalist import SECTIONS, summary, write_datalist
from medkd.datasets.tile_checks import one_class_problems
from medkd.errors import DataError
from medkd.files import atomic_folder
from medkd.reading.slides import open_slide, read_tile
from medkd.slides.grid import Grid
from medkd.slides.tissue import tissue_mask

__all__ = ["LabelledSlide", "TileRules", "write_slide_tiles"]

Mask = NDArray[np.uint8]
_COARSE = 4  # level-0 pixels per pixel when only the share of tumour is wanted


@dataclass(frozen=True)
class LabelledSlide:
    """A slide, where its tumour is, and where it belongs.

    Args:
        path: the slide.
        section: of the datalist.
        patient: what must not occur in two sections.
        annotation: the file that ``mask`` reads, or ``None`` for a slide without tumour.
        mask: ``mask(location, size, downsample) -> [rows, columns]`` of 0 and 1; needed where there is an annotation.
    """

    path: Path
    section: str
    patient: str
    annotation: Path | None = None
    mask: Callable[[Sequence[int], Sequence[int], int], Mask] | None = None


@dataclass(frozen=True)
class TileRules:
    """Which tiles of a slide become items.

    Args:
        tile_size: rows and columns at level 0.
        positive_fraction: share of tumour from which on a tile is positive, in (0, 1]. Tiles with less, but some, are
            left out of training and validation; in the test set they are negative.
        tiles_per_slide: at most so many positive and so many negative tiles of a slide, drawn at random; ``None`` for
            all.
        seed: of the draw.
    """

    tile_size: int = 512
    positive_fraction: float = 0.25
    tiles_per_slide: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tile_size < 1 or not 0 < self.positive_fraction <= 1:
            raise ValueError(
                "expected tile_size >= 1 and 0 < positive_fraction <= 1, got "
                f"{self.tile_size} and {self.positive_fraction}"
            )
        if self.tiles_per_slide is not None and self.tiles_per_slide < 1:
            raise ValueError(f"expected tiles_per_slide >= 1, or None for all, got {self.tiles_per_slide}")

    def tiles(self, slide: LabelledSlide) -> list[dict[str, Any]]:
        """The slide's items without paths: ``location``, ``size``, ``level``, ``label``, ``tumour_fraction``.

        Raises:
            OSError: if the slide cannot be read.
            ValueError: if it has no tissue.
        """
        opened, side = open_slide(slide.path), self.tile_size
        grid = Grid(opened.size, 1.0, tile_size=side, halo=0, map_downsample=1)
        items: list[dict[str, Any]] = []
        for number in grid.tiles_on(*tissue_mask(opened)).tolist():
            top, left = (int(place) for place in grid.location(number))
            if top + side > opened.size[0] or left + side > opened.size[1]:
                continue  # a tile at the border would be part white
            fraction = _fraction(slide, (top, left), side)
            label = int(fraction >= self.positive_fraction)
            if slide.section == "test" or label or fraction == 0:
                item = {"location": [top, left], "size": [side, side], "level": 0, "label": label}
                items.append(item | {"tumour_fraction": round(fraction, 4)})
        return self._drawn(items, slide.path.stem)

    def _drawn(self, items: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
        """As many of each label as are wanted, in order; what is drawn depends on the slide alone, not on the others."""
        if self.tiles_per_slide is None:
            return items
        generator = np.random.default_rng([self.seed, *name.encode()])
        labels = np.array([item["label"] for item in items], int)
        kept = [
            generator.permutation(np.flatnonzero(labels == label))[: self.tiles_per_slide].tolist() for label in (0, 1)
        ]
        return [items[index] for index in sorted(kept[0] + kept[1])]


def write_slide_tiles(
    name: str, tiles: Sequence[tuple[LabelledSlide, list[dict[str, Any]]]], output: str | Path, *, write_tiles: bool
) -> dict[str, dict[str, int]]:
    """Write ``datalist.json`` of tiles; with ``write_tiles`` also each tile and its mask as PNG.

    Args:
        name: of the dataset.
        tiles: slides with their items.
        output: folder to make.
        write_tiles: cut the tiles out; otherwise items name the slide and the place in it.

    Returns:
        For each section the number of images, patients and positive images.

    Raises:
        DataError: if a section has tiles of one label alone; there need not be a test set.
    """
    sections = {s: [item for slide, items in tiles if slide.section == s for item in items] for s in SECTIONS}
    problems = list(one_class_problems({s: items for s, items in sections.items() if items or s != "test"}))
    if problems:
        raise DataError(name, problems)
    final = Path(output).resolve()
    datalist: dict[str, Any] = {"name": name, "labels": {"0": "background", "1": "tumour"}}
    datalist |= {section: [] for section in SECTIONS}
    with atomic_folder(output) as partial:
        for slide, items in tiles:
            for item in items:
                paths = _cut(slide, item, partial) if write_tiles else _in_slide(slide, item, final)
                datalist[slide.section].append({**paths, **_told(item), "patient": slide.patient})
        write_datalist(partial / "datalist.json", datalist)
    return {section: summary(datalist[section]) for section in SECTIONS}


def _fraction(slide: LabelledSlide, location: Sequence[int], side: int) -> float:
    if slide.mask is None:
        return 0.0
    shape = (-(-side // _COARSE),) * 2
    return float(slide.mask(location, shape, _COARSE).mean())


def _in_slide(slide: LabelledSlide, item: dict[str, Any], final: Path) -> dict[str, Any]:
    """Where a tile is: the slide and the place in it."""
    paths = {"image": os.path.relpath(slide.path, final)}
    if slide.annotation is not None:
        paths["mask"] = os.path.relpath(slide.annotation, final)
    return {**paths, **{key: item[key] for key in ("location", "size", "level")}}


def _cut(slide: LabelledSlide, item: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Cut a tile out, and its mask where there is an annotation."""
    name = f"{slide.path.stem}/{item['location'][0]}_{item['location'][1]}"
    paths = {"image": f"tiles/{name}.png"}
    _save(folder / paths["image"], read_tile(slide.path, item["location"], item["size"]))
    if slide.mask is not None:
        paths["mask"] = f"masks/{name}.png"
        _save(folder / paths["mask"], 255 * slide.mask(item["location"], item["size"], 1))
    return paths


def _told(item: dict[str, Any]) -> dict[str, Any]:
    return {key: item[key] for key in ("label", "tumour_fraction")}


def _save(path: Path, pixels: Mask) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
