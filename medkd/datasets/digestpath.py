"""DigestPath 2019, task 2 (colonoscopy tissue), becomes a datalist of tiles: places in large JPEGs.

Expected: pictures in folders whose names contain ``pos`` or ``neg``; beside each positive ``NAME.jpg`` its mask
``NAME_mask.jpg``. The challenge kept its test set, so one is split off by patient. Needs the extra ``slides``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medkd.datasets.slide_tiles import LabelledSlide, TileRules, write_slide_tiles
from medkd.datasets.split import split_patients
from medkd.errors import DataError
from medkd.reading.slides import open_slide, read_tile

__all__ = ["patient_of", "prepare_digestpath"]

_SUFFIXES = {".jpg", ".jpeg", ".png"}


def prepare_digestpath(
    source: str | Path,
    output: str | Path,
    *,
    tile_size: int = 512,
    positive_fraction: float = 0.25,
    tiles_per_slide: int | None = None,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    write_tiles: bool = False,
    progress: bool = False,
) -> dict[str, dict[str, int]]:
    """Check every picture and mask, find the tiles with tissue, split by patient, and write a datalist.

    Args:
        source: folder of the folders of pictures.
        output: folder to make; it must not hold anything yet. No picture is copied.
        tile_size: rows and columns of a tile.
        positive_fraction: share of tumour from which on a tile is positive; tiles with less, but some, are left out of
            training and validation.
        tiles_per_slide: at most so many positive and so many negative tiles of a picture; ``None`` for all.
        validation: share of the pictures to validate on, by patient, in (0, 1).
        test: share of the pictures to test on, by patient, in (0, 1).
        seed: of the split and the draw.
        write_tiles: also cut the tiles and their masks out, as PNG; much faster to train from.
        progress: show a progress bar.

    Returns:
        For each section the number of images (tiles), patients and positive images.

    Raises:
        DataError: with every problem of every file, or if a section has tiles of one label alone; nothing is
            written then.
        ValueError: if the shares leave no patient for training.
    """
    from tqdm import tqdm

    rules = TileRules(tile_size, positive_fraction, tiles_per_slide, seed)
    source = Path(source).resolve()
    problems: list[str] = []
    pictures = _pictures(source, problems)
    if problems:
        raise DataError(source, problems)
    sections = split_patients([p.patient for p in pictures], {"test": test, "validation": validation}, seed)
    tiles: list[tuple[LabelledSlide, list[dict[str, Any]]]] = []
    for picture in tqdm(pictures, desc="pictures", disable=not progress):
        placed = replace(picture, section=sections[picture.patient])
        try:
            problems += _mask_problems(placed)
            tiles.append((placed, rules.tiles(placed)))
        except (OSError, ValueError) as error:
            problems.append(str(error))
    if problems:
        raise DataError(source, problems)
    return write_slide_tiles("digestpath", tiles, output, write_tiles=write_tiles)


def patient_of(stem: str) -> str:
    """Who a picture is of, by its name; several are cut from one slide, and several slides are of one patient.

    ``18-09926A_2019-05-07 23-56-22-lv1-22405-10278-6015-4519`` is of ``18-09926A``;
    ``2019-03-26 18.12.34.ndpi.16.14788_15256.2776x3342`` is from the slide before ``.ndpi``.
    """
    return re.split(r"_\d{4}-\d\d-\d\d|\.ndpi|-lv\d", stem, maxsplit=1)[0]


def _pictures(source: Path, problems: list[str]) -> list[LabelledSlide]:
    """Pictures with the masks beside them; a positive one must have one, a negative one must not."""
    found = []
    for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in _SUFFIXES and not p.name.startswith(".")):
        if path.stem.endswith("_mask"):
            continue
        folder = path.relative_to(source).parent.as_posix().lower()
        positive = "pos" in folder
        mask = next((m for m in sorted(path.parent.glob(f"*{path.suffix}")) if m.stem == f"{path.stem}_mask"), None)
        if positive == ("neg" in folder):
            problems.append(f"{path}: expected a folder whose name contains either pos or neg, found {folder}")
        elif positive != (mask is not None):
            expected = f"a mask {path.stem}_mask{path.suffix}" if positive else "no mask of a negative picture"
            problems.append(f"{path}: expected {expected} beside it, found {mask or 'none'}")
        else:
            reader = partial(_mask, mask) if mask is not None else None
            found.append(LabelledSlide(path, "", patient_of(path.stem), mask, reader))
    if not found and not problems:
        problems.append(f"{source}: expected pictures in folders named pos and neg, found none")
    return found


def _mask(path: Path, location: Sequence[int], size: Sequence[int], downsample: int) -> NDArray[np.uint8]:
    """A part of a mask of black and white; JPEG blurs it, so half of white counts."""
    shape = (size[0] * downsample, size[1] * downsample)
    fine, centre = read_tile(path, location, shape)[..., 0] > 127, downsample // 2
    inside: NDArray[np.uint8] = fine[centre::downsample, centre::downsample].astype(np.uint8)
    return inside


def _mask_problems(picture: LabelledSlide) -> list[str]:
    """Whether a mask has its picture's size, and marks anything."""
    if picture.annotation is None:
        return []
    size, mask = open_slide(picture.path).size, open_slide(picture.annotation)
    if mask.size != size:
        return [f"{picture.annotation}: expected the size of its picture {size}, found {mask.size}"]
    if not (mask.read_level(0, 0, 0, *mask.size)[..., 0] > 127).any():
        return [f"{picture.annotation}: expected tumour in the mask of a positive picture, found none"]
    return []
