"""Folders of histology tiles with image-level labels in a CSV become a checked datalist."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medkd.datasets.datalist import SECTIONS, DatalistError, summary, write_datalist
from medkd.datasets.studies import images_by_stem
from medkd.files import atomic_folder
from medkd.transforms.tiles import read_tile_mask, read_tile_pixels

__all__ = ["prepare_tiles", "split_patients", "tile_problems"]

Item = dict[str, Any]


def prepare_tiles(
    source: str | Path,
    output: str | Path,
    *,
    labels: str | Path,
    masks: str | Path | None = None,
    validation: float = 0.15,
    test: float = 0.25,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, dict[str, int]]:
    """Check every tile, split by patient, and write a datalist. No image is copied.

    Args:
        source: folder of tiles (JPEG, PNG, TIFF, BMP) of one size.
        output: folder to make; it must not hold anything yet.
        labels: CSV with the columns ``image`` (file name, with or without extension) and ``label`` (0 or 1), and optionally
            ``patient`` (a tile without stands alone) and ``section`` (training, validation or test, for all tiles).
        masks: folder of masks of the tiles' stems; they are used to score, never to train or to select.
        validation: share of the patients to validate on, if there is no column ``section``.
        test: share of the patients to test on, likewise.
        seed: of the split.
        progress: show a progress bar.

    Returns:
        For each section the number of images, patients and positive images.

    Raises:
        DatalistError: with every problem of every file; nothing is written then.
        ValueError: if the shares leave a section without a patient.
    """
    from tqdm import tqdm

    source, final = Path(source).resolve(), Path(output).resolve()
    problems: list[str] = []
    tiles = images_by_stem(source, problems)
    truth = images_by_stem(Path(masks).resolve(), problems) if masks is not None else {}
    rows = _read_labels(Path(labels), tiles, problems)
    items, sizes = [], Counter[tuple[int, int]]()
    for stem, row in tqdm(rows.items(), desc="checking", disable=not progress):
        item: Item = {"image": str(tiles[stem]), "label": int(row["label"]), "patient": row.get("patient") or stem}
        item |= {"mask": str(truth[stem])} if stem in truth else {}
        item |= {"section": row["section"]} if "section" in row else {}
        problems += tile_problems(item, sizes)
        items.append(item)
    if len(sizes) > 1:
        problems.append(f"{source}: expected tiles of one size, found (rows × columns: tiles) {_counted(sizes)}")
    sections = {} if problems else _sections(items, validation, test, seed)
    problems += one_class_problems(sections)
    if problems:
        raise DatalistError(source, problems)
    return write_tiles_datalist(output, "tiles", {"0": "background", "1": "foreground"}, sections, final)


def write_tiles_datalist(
    output: str | Path, name: str, labels: Mapping[str, str], sections: Mapping[str, Sequence[Item]], final: Path
) -> dict[str, dict[str, int]]:
    """Write the datalist of tiles with paths relative to it; return the summary of each section."""
    relative = {
        section: [
            {**item, **{key: os.path.relpath(item[key], final) for key in ("image", "mask") if key in item}}
            for item in items
        ]
        for section, items in sections.items()
    }
    with atomic_folder(output) as partial:
        write_datalist(partial / "datalist.json", {"name": name, "labels": dict(labels), **relative})
    return {section: summary(relative[section]) for section in SECTIONS}


def tile_problems(item: Item, sizes: Counter[tuple[int, int]] | None = None) -> Iterator[str]:
    """What is wrong with a tile and its mask; ``sizes`` counts the sizes of sound tiles."""
    path, label = str(item["image"]), item.get("label")
    if not isinstance(label, str) and label not in (0, 1):
        yield f"{path}: expected the label 0 or 1, found {'none' if label is None else label}"
    annotation = label if isinstance(label, str) else item.get("mask")
    place = {key: item[key] for key in ("location", "size", "level") if key in item}
    try:
        pixels = read_tile_pixels(path, **place)
        if sizes is not None:
            sizes[(pixels.shape[0], pixels.shape[1])] += 1
        path = annotation or path
        mask = read_tile_mask(annotation, **place) if annotation else None
    except Exception as error:  # noqa: BLE001 - whatever the decoder raises, the file cannot be read
        yield f"{path}: cannot be read ({error})"
        return
    if mask is None:
        return
    if mask.shape != pixels.shape[:2]:
        yield f"{path}: expected the size of its tile {pixels.shape[:2]}, found {mask.shape}"
    hardly_any = item.get("tumour_fraction", 0) > 0  # test tiles keep their label where the tumour is too small for it
    if label in (0, 1) and bool(mask.any()) != bool(label) and not hardly_any:
        expected, found = ("foreground", "an empty mask") if label else ("an empty mask", "foreground")
        yield f"{path}: expected {expected}, as its tile's label is {label}, found {found}"


def split_patients(patients: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """The section of every patient: at random, until a section has its share of the images; the rest is for training.

    Args:
        patients: the patient of every image.
        shares: of the images, for each section but training, which needs the rest.
        seed: of the order.

    Raises:
        ValueError: if no patient is left for training.
    """
    count = Counter(patients)
    names = sorted(count)
    left = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    chosen: dict[str, str] = {}
    for section, share in shares.items():
        taken: list[str] = []
        room = share * len(patients)
        for name in left:
            if count[name] < 2 * room:  # taking it brings the section nearer to its share
                taken.append(name)
                room -= count[name]
        taken = taken or sorted(left, key=lambda name: count[name])[: int(share > 0)]
        chosen |= dict.fromkeys(taken, section)
        left = [name for name in left if name not in taken]
    if not left:
        raise ValueError(
            f"expected shares that leave patients for training, got {dict(shares)} of {len(names)} patients"
        )
    return {name: chosen.get(name, "training") for name in names}


def one_class_problems(sections: Mapping[str, Sequence[Item]]) -> Iterator[str]:
    """Sections that lack positive or negative images: nothing can be learned from them, or measured on them."""
    for section, items in sections.items():
        labels = {int(item["label"]) for item in items}
        if len(labels) < 2:
            found = f"label {labels.pop()} alone" if labels else "no image"
            yield f'"{section}": expected positive and negative images, found {found}; another seed or share may help'


def _read_labels(path: Path, tiles: Mapping[str, Path], problems: list[str]) -> dict[str, dict[str, Any]]:
    """The row of every tile that has one; what is unknown, missing, double or malformed joins the problems."""
    table = pd.read_csv(path, dtype=str)
    if not {"image", "label"} <= set(table.columns):
        problems.append(f"{path}: expected the columns image and label, found {', '.join(table.columns)}")
        return {}
    names = {file.name: stem for stem, file in tiles.items()} | {stem: stem for stem in tiles}
    rows: dict[str, dict[str, Any]] = {}
    for line, row in enumerate(table.to_dict("records"), start=2):
        name, label, section = row["image"], row["label"], row.get("section", "training")
        stem = names.get(name)
        if stem is None:
            problems.append(f"{path}, line {line}: expected the name of a tile, found {name!r}, which is none")
        elif stem in rows:
            problems.append(f"{path}, line {line}: expected {name!r} once, found it again")
        elif label not in {"0", "1"}:
            problems.append(f"{path}, line {line}: expected the label 0 or 1 of {name!r}, found {label!r}")
        elif section not in SECTIONS:
            problems.append(f"{path}, line {line}: expected a section {', '.join(SECTIONS)}, found {section!r}")
        else:
            rows[stem] = {str(key): value for key, value in row.items() if isinstance(value, str)}
    labelled = {names.get(name) for name in table["image"]}
    problems += [f"{path}: expected a label of {tiles[s].name}, found none" for s in sorted(tiles.keys() - labelled)]
    return rows


def _sections(items: Sequence[Item], validation: float, test: float, seed: int) -> dict[str, list[Item]]:
    """The items of each section, as the table says or by patient."""
    told = all("section" in item for item in items)
    patients = [item["patient"] for item in items]
    split = {} if told else split_patients(patients, {"test": test, "validation": validation}, seed)
    sections: dict[str, list[Item]] = {section: [] for section in SECTIONS}
    for item in items:
        chosen = item.pop("section", "")
        sections[chosen if told else split[item["patient"]]].append(item)
    return sections


def _counted(sizes: Counter[tuple[int, int]]) -> str:
    return ", ".join(f"{rows} × {columns}: {count}" for (rows, columns), count in sizes.most_common(5))
