"""Camelyon16 becomes a datalist of tiles: places in slides, with image-level labels from the annotations.

Expected: slides ``normal_*``, ``tumor_*`` (training) and ``test_*`` anywhere in one folder, and ASAP's XML files of the
same stems anywhere in another. A test slide without XML is normal. Needs the extra ``slides``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from medkd.datasets.slide_tiles import LabelledSlide, TileRules, write_slide_tiles
from medkd.datasets.split import split_patients
from medkd.errors import DataError
from medkd.reading.annotations import rasterise, read_annotation
from medkd.reading.slides import open_slide

__all__ = ["prepare_camelyon16"]

_DISCARDED = {"test_114"}  # not all of its tumour is annotated: the challenge's README
_SUFFIXES = {".tif", ".tiff", ".svs", ".ndpi", ".mrxs"}


def prepare_camelyon16(
    slides: str | Path,
    annotations: str | Path,
    output: str | Path,
    *,
    tile_size: int = 512,
    positive_fraction: float = 0.25,
    tiles_per_slide: int | None = 1000,
    validation: float = 0.1,
    seed: int = 0,
    write_tiles: bool = False,
    progress: bool = False,
) -> dict[str, dict[str, int]]:
    """Check every slide and annotation, find the tiles with tissue, and write a datalist.

    Args:
        slides: folder of the slides.
        annotations: folder of the XML files.
        output: folder to make; it must not hold anything yet. No slide is copied.
        tile_size: rows and columns of a tile at level 0.
        positive_fraction: share of tumour from which on a tile is positive; tiles with less, but some, are left out of
            training and validation.
        tiles_per_slide: at most so many positive and so many negative tiles of a slide, drawn at random; ``None`` for
            all (Camelyon16 has millions).
        validation: share of the training slides with tumour, and of those without, to validate on, in (0, 1).
        seed: of the split and the draw.
        write_tiles: also cut the tiles and their masks out, as PNG.
        progress: show a progress bar.

    Returns:
        For each section the number of images (tiles), patients (slides) and positive images.

    Raises:
        DataError: with every problem of every file, or if a section has tiles of one label alone; nothing is
            written then.
        ValueError: if ``validation`` is out of range or leaves no slide to train on.
    """
    from tqdm import tqdm

    rules = TileRules(tile_size, positive_fraction, tiles_per_slide, seed)
    problems: list[str] = []
    known = _labelled(Path(slides).resolve(), Path(annotations).resolve(), problems)
    if problems:
        raise DataError(slides, problems)
    sections: dict[str, str] = {}
    for tumour in (True, False):
        names = [s.patient for s in known if s.section == "training" and (s.annotation is not None) == tumour]
        sections |= split_patients(names, {"validation": validation}, seed)
    tiles: list[tuple[LabelledSlide, list[dict[str, Any]]]] = []
    for slide in tqdm(known, desc="slides", disable=not progress):
        placed = replace(slide, section=sections.get(slide.patient, slide.section))
        try:
            problems += _annotation_problems(slide)
            tiles.append((placed, rules.tiles(placed)))
        except (OSError, ValueError) as error:
            problems.append(str(error))
    if problems:
        raise DataError(slides, problems)
    return write_slide_tiles("camelyon16", tiles, output, write_tiles=write_tiles)


def _labelled(slides: Path, annotations: Path, problems: list[str]) -> list[LabelledSlide]:
    """Every slide by the kind that its name says; what cannot be is a problem."""
    files = {path.stem.lower(): path for path in sorted(annotations.rglob("*.xml"))}
    if not files:
        problems.append(f"{annotations}: expected annotations *.xml, found none")
    found: dict[str, LabelledSlide] = {}
    for path in sorted(p for p in slides.rglob("*") if p.suffix.lower() in _SUFFIXES and not p.name.startswith(".")):
        stem = path.stem.lower()
        kind, annotation = stem.split("_")[0], files.get(stem)
        if stem in _DISCARDED:
            continue
        if stem in found:
            problems.append(f"{path}: expected one slide of this name, found {found[stem].path} too")
        elif kind not in {"normal", "tumor", "test"}:
            problems.append(f"{path}: expected a name normal_*, tumor_* or test_*, found {path.name}")
        elif (kind == "tumor" and annotation is None) or (kind == "normal" and annotation is not None):
            expected = f"an annotation {path.stem}.xml" if kind == "tumor" else "no annotation of a normal slide"
            problems.append(f"{path}: expected {expected} in {annotations}, found {annotation or 'none'}")
        else:
            mask = partial(rasterise, str(annotation)) if annotation is not None else None
            section = "test" if kind == "test" else "training"
            found[stem] = LabelledSlide(path, section, path.stem, annotation, mask)
    if not found and not problems:
        problems.append(f"{slides}: expected slides normal_*, tumor_* and test_*, found none")
    return list(found.values())


def _annotation_problems(slide: LabelledSlide) -> list[str]:
    if slide.annotation is None:
        return []
    return read_annotation(str(slide.annotation)).problems(open_slide(slide.path).size)
