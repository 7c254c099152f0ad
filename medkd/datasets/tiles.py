"""Folders of histology tiles with image-level labels in a CSV become a checked datalist."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medkd.datasets.datalist import SECTIONS, summary, write_datalist
from medkd.datasets.split import split_patients
from medkd.datasets.studies import images_by_stem
from medkd.datasets.tile_checks import one_class_problems, tile_problems
from medkd.errors import DataError
from medkd.files import atomic_folder

__all__ = ["prepare_tiles", "write_tiles_datalist"]

Item = dict[str, Any]


def prepare_tiles(
    source: str | Path,
    output: str | Path,
    *,
    labels: str | Path,
    masks: str | Path | None = None,
    class_name: str = "tumour",
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
        class_name: what a tile of label 1 holds, the one of ``class_names`` of the configuration.
        validation: share of the patients to validate on, if there is no column ``section``.
        test: share of the patients to test on, likewise.
        seed: of the split.
        progress: show a progress bar.

    Returns:
        For each section the number of images, patients and positive images.

    Raises:
        DataError: with every problem of every file; nothing is written then.
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
        raise DataError(source, problems)
    return write_tiles_datalist(output, "tiles", {"0": "background", "1": class_name}, sections, final)


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
