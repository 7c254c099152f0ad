"""Run a teacher over the images of a datalist; stopped, it goes on when called again."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from nibabel.nifti1 import Nifti1Image
from PIL import Image
from tqdm import tqdm

from medkd import __version__
from medkd.datasets.datalist import SECTIONS, load_datalist
from medkd.datasets.predictions import INDEX, image_stem, read_index
from medkd.errors import DataError
from medkd.files import atomic_path, content_hash
from medkd.program import cause, message
from medkd.reading.images import is_frame
from medkd.teaching.configured import Teacher

__all__ = ["TeachReport", "teach"]

_TEACHERS = "teachers.json"
_COLUMNS = ("prediction", "image", "sha256")
_MILLIMETRES = 2  # in NIfTI's code
Run = Callable[[Callable[[Any], Any], Iterable[tuple[str, Any]]], Iterator[tuple[str, Any]]]


@dataclass(frozen=True)
class TeachReport:
    """What was written.

    Attributes:
        written: images predicted now.
        kept: images whose prediction was there.
        bytes: size of all files of the folder.
        error: the largest difference between a probability and what was kept of it.
    """

    written: int
    kept: int
    bytes: int
    error: float


def teach(
    teachers: Sequence[Teacher],
    datalist: str | Path,
    output: str | Path,
    *,
    sections: Sequence[str] = SECTIONS,
    progress: bool = False,
    run: Run | None = None,
) -> TeachReport:
    """Write the mean prediction of one or several teachers for every image, with and without a label.

    Probabilities of the classes from 1 on, in 8 bits, in the image's own geometry: compressed NIfTI
    ``[*spatial, K − 1]``, for pictures and two classes a grey PNG. ``predictions.csv`` says which file is of which image, by
    the image's SHA-256; ``teachers.json`` who has made them. Every file is complete or not there.

    Args:
        teachers: whose predictions are averaged.
        datalist: ``datalist.json`` or its folder.
        output: folder to make or to go on in.
        sections: of the datalist.
        progress: show a bar of the images that were looked at.
        run: what calls a function for many items, as ``medkd.collection.run_collection`` does; by default one after the
            other, in this process. This process alone writes to the index.

    Raises:
        FileExistsError: if the folder holds predictions of other teachers.
        ValueError: for a section that there is not.
        DataError: with every image that a teacher refused; the others are written.
    """
    folder, listed = Path(output).absolute(), load_datalist(Path(datalist).absolute())
    strange = sorted(set(sections) - set(SECTIONS))
    if strange:
        raise ValueError(f"sections: expected some of {', '.join(SECTIONS)}, got {', '.join(strange)}")
    folder.mkdir(parents=True, exist_ok=True)
    _begin(folder, [teacher.identity for teacher in teachers])
    images = list(dict.fromkeys(item["image"] for section in sections for item in listed[section]))
    done = {row["sha256"] for row in read_index(folder) if (folder / row["prediction"]).is_file()}
    missing = _missing(tqdm(images, disable=not progress), done)
    errors = []
    for _, (row, error) in (run or partial(_in_turn, output))(partial(_predict, teachers, folder), missing):
        _append(folder, row)
        done.add(row["sha256"])
        errors.append(error)
    size = sum(file.stat().st_size for file in folder.iterdir())
    return TeachReport(len(errors), len(images) - len(errors), size, max(errors, default=0.0))


def _missing(images: Iterable[str], done: Collection[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Image by image what is not done, as a name, and the image with its SHA-256."""
    for image in images:
        digest = content_hash(image)
        if digest not in done:
            yield image, (image, digest)


def _in_turn(
    output: str | Path, function: Callable[[Any], Any], items: Iterable[tuple[str, Any]]
) -> Iterator[tuple[str, Any]]:
    problems = []
    for name, item in items:
        try:
            result = function(item)
        except _RefusedError as error:  # anything else would happen to the next one too: a full disk
            problems.append(str(error))
            continue
        yield name, result
    if problems:
        raise DataError(output, problems)


class _RefusedError(ValueError):
    """An image that a teacher does not take."""


def _predict(teachers: Sequence[Teacher], folder: Path, item: tuple[str, str]) -> tuple[dict[str, str], float]:
    """Predict an image and keep it; gives its row of the index, and what the eight bits have cost."""
    image, digest = item
    try:
        predictions = [teacher.predict(image) for teacher in teachers]
    except (ValueError, OSError, RuntimeError) as error:
        reason = message(cause(error))
        raise _RefusedError(reason if reason.startswith(image) else f"{image}: {reason}") from error
    if len({tuple(one.shape) for one in predictions}) > 1:
        found = [len(one) for one in predictions]
        raise ValueError(f"{image}: expected teachers of one number of classes, found {found}")
    mean = torch.stack([torch.as_tensor(one) for one in predictions]).mean(0)
    affine = predictions[0].affine if isinstance(predictions[0], MetaTensor) else torch.eye(4)
    rounded = (255 * mean).round()
    suffix = "_map.png" if is_frame(image) and len(mean) == 1 else ".nii.gz"
    name = f"{image_stem(image)}-{digest[:8]}{suffix}"
    _write(folder / name, rounded.to(torch.uint8).numpy(), np.asarray(affine))
    return {"prediction": name, "image": image, "sha256": digest}, float((rounded / 255 - mean).abs().max())


def _write(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    with atomic_path(path) as partial:
        if path.suffix == ".png":
            Image.fromarray(values[0].T).save(partial, format="PNG")  # MONAI's frames have x first
            return
        spatial = np.moveaxis(values, 0, -1)
        volume = Nifti1Image(spatial if spatial.ndim == 4 else spatial[:, :, None], affine)
        volume.header.set_slope_inter(1 / 255, 0)
        volume.header["xyzt_units"] = _MILLIMETRES
        volume.to_filename(partial)


def _append(folder: Path, row: dict[str, str]) -> None:
    """A row that is on the disk when this returns."""
    with (folder / INDEX).open("a", encoding="utf-8", newline="") as file:
        csv.DictWriter(file, _COLUMNS, lineterminator="\n").writerow(row)
        file.flush()
        os.fsync(file.fileno())


def _begin(folder: Path, identities: list[dict[str, str]]) -> None:
    """Say who teaches, and begin the index, or drop the row that a killed run has cut short."""
    rows, path = list(read_index(folder)), folder / _TEACHERS
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))["teachers"]
        if [{**one, "teacher": ""} for one in before] != [{**one, "teacher": ""} for one in identities]:
            raise FileExistsError(
                f"{folder}: expected predictions of these teachers, found those of "
                f"{[one['teacher'] for one in before]} with other weights, another configuration or activation; name another folder"
            )
    with atomic_path(path) as partial:
        partial.write_text(
            json.dumps({"medkd": __version__, "teachers": identities}, indent=2) + "\n", encoding="utf-8"
        )
    with atomic_path(folder / INDEX) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
