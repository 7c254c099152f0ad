"""GlaS (Warwick-QU, Sirinukunwattana et al., MedIA 2017) as a task with image-level labels, split by patient.

Expected: ``images/*.jpg`` (or another format), ``masks/*.png`` (glands) and ``grade.csv`` with the columns ``name``,
``patient_id`` and ``grade_glas`` (benign or malignant).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medkd.datasets.datalist import SECTIONS
from medkd.datasets.split import split_patients
from medkd.datasets.studies import images_by_stem
from medkd.datasets.tile_checks import one_class_problems
from medkd.datasets.tiles import Item, write_tiles_datalist
from medkd.errors import DataError
from medkd.reading.tiles import read_tile_mask, read_tile_pixels

__all__ = ["TASKS", "prepare_glas"]

TASKS = {"gland": "gland", "malignancy": "malignant gland"}


def prepare_glas(
    source: str | Path,
    output: str | Path,
    *,
    task: str = "gland",
    tile_size: int = 128,
    stride: int = 64,
    positive_fraction: float = 0.0,
    validation: float = 0.15,
    test: float = 0.3,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, dict[str, int]]:
    """Check every image, cut it into tiles by coordinates, split by patient, and write a datalist. No image is copied.

    Args:
        source: the folder described above.
        output: folder to make; it must not hold anything yet.
        task: ``"gland"``: tiles, positive if they hold gland; ``"malignancy"``: whole images, positive if they are of
            malignant grade, and then their glands are the truth.
        tile_size: side of a tile in pixels, for ``"gland"``.
        stride: distance of training tiles in pixels; those of validation and test do not overlap.
        positive_fraction: in training and validation, tiles with less gland than this, but some, are left out: no
            pathologist would label them surely. In [0, 1).
        validation: share of the patients to validate on.
        test: share of the patients to test on.
        seed: of the split.
        progress: show a progress bar.

    Returns:
        For each section the number of tiles, patients and positive tiles.

    Raises:
        DataError: with every problem of every file; nothing is written then.
        ValueError: for an option out of range.
    """
    from tqdm import tqdm

    if task not in TASKS or min(tile_size, stride) < 1 or not 0 <= positive_fraction < 1:
        raise ValueError(
            f"expected a task of {sorted(TASKS)}, tile_size and stride >= 1 and positive_fraction in [0, 1), "
            f"got {task!r}, {tile_size}, {stride}, {positive_fraction}"
        )
    source, final = Path(source).resolve(), Path(output).resolve()
    problems: list[str] = []
    images, masks = (images_by_stem(source / kind, problems) for kind in ("images", "masks"))
    grades = _grades(source / "grade.csv", problems)
    problems += [f"{images[s]}: expected a mask {s}.* in {source / 'masks'}, found none" for s in images.keys() - masks]
    problems += [f"{source / 'grade.csv'}: expected a row of {s}, found none" for s in images.keys() - grades.keys()]
    sections: dict[str, list[Item]] = {section: [] for section in SECTIONS}
    patients = [grades[stem][0] for stem in images if stem in grades]
    split = split_patients(patients, {"test": test, "validation": validation}, seed) if patients else {}
    for stem in tqdm(sorted(images.keys() & masks & grades.keys()), desc="checking", disable=not progress):
        patient, malignant = grades[stem]
        item = {"image": str(images[stem]), "mask": str(masks[stem]), "patient": patient, "region": stem}
        try:
            shape = read_tile_pixels(item["image"]).shape[:2]
            mask = read_tile_mask(item["mask"])
        except Exception as error:  # noqa: BLE001 - whatever the decoder raises, a file cannot be read
            problems.append(f"{stem}: cannot be read ({error})")
            continue
        if mask.shape != shape:
            problems.append(f"{masks[stem]}: expected the size of its image {shape}, found {mask.shape}")
            continue
        if task == "gland" and min(shape) < tile_size:
            problems.append(f"{images[stem]}: expected at least {tile_size} pixels a side, found {shape}")
            continue
        if task == "malignancy":
            if not malignant:
                del item["mask"]  # the glands in it are not what is looked for
            tiles: list[Item] = [{**item, "label": int(malignant)}]
        else:
            kept_from = positive_fraction if split[patient] != "test" else 0.0
            distance = stride if split[patient] == "training" else tile_size
            tiles = [{**item, **tile} for tile in _tiles(mask, tile_size, distance, kept_from)]
        sections[split[patient]] += tiles
    problems += [] if problems else one_class_problems(sections)
    if problems:
        raise DataError(source, problems)
    return write_tiles_datalist(output, f"GlaS, {task}", {"0": "background", "1": TASKS[task]}, sections, final)


def _tiles(mask: np.ndarray[Any, Any], size: int, stride: int, positive_fraction: float) -> Iterator[Item]:
    """Place and label of every tile that fits."""
    places = [range(0, length - size + 1, stride) for length in mask.shape]
    for top in places[0]:
        for left in places[1]:
            fraction = float(mask[top : top + size, left : left + size].mean())
            if fraction == 0 or fraction >= positive_fraction:
                yield {"location": [top, left], "size": [size, size], "label": int(fraction > 0)}


def _grades(path: Path, problems: list[str]) -> dict[str, tuple[str, bool]]:
    """Patient and malignancy of every image."""
    if not path.is_file():
        problems.append(f"{path}: expected a table of grades, found nothing there")
        return {}
    table = pd.read_csv(path, dtype=str)
    needed = {"name", "patient_id", "grade_glas"}
    if not needed <= set(table.columns):
        problems.append(f"{path}: expected the columns {sorted(needed)}, found {', '.join(table.columns)}")
        return {}
    strange = table[~table["grade_glas"].isin(["benign", "malignant"])]
    problems += [f"{path}: expected benign or malignant for {n}, found another grade" for n in strange["name"]]
    return {
        row["name"]: (f"patient {row['patient_id']}", row["grade_glas"] == "malignant")
        for row in table.to_dict("records")
    }
