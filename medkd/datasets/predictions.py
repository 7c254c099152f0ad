"""A teacher as a folder: its prediction of every image, written by ``medkd teach`` or by any other tool."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medkd.errors import DataError
from medkd.files import content_hash
from medkd.reading.images import is_turned
from medkd.reading.predictions import PREDICTION_SUFFIXES

__all__ = ["INDEX", "PredictionFolder", "image_stem", "with_predictions"]

INDEX = "predictions.csv"  # columns: prediction (a file of the folder), image (where it was), sha256 (of the image)
_POSTFIXES = ("", "_prediction", "_map", "_seg")
_NNUNET_CHANNEL = "_0000"  # behind the name of an image, and not of its prediction
_logger = logging.getLogger(__name__)
Item = dict[str, Any]


def with_predictions(
    items: Sequence[Item], folder: str | Path | None, *, leave_out: bool = False, required: bool = False
) -> list[Item]:
    """Training items with their teacher's prediction as ``teacher``.

    With an index, which ``medkd teach`` writes, an image's prediction is found by the image's content, wherever it lies;
    without one by its name: ``NAME.nii.gz``, ``.nii``, ``.npz`` or ``.png``, or the same with ``_prediction``, ``_map`` or
    ``_seg`` behind NAME. nnU-Net's names are known: its image is ``NAME_0000``, and of ``NAME.npz`` and ``NAME.nii.gz``, which it
    writes both, the one with the probabilities is taken.

    Args:
        items: of a datalist, with absolute paths.
        folder: of predictions; ``None``: there are none, and the items are as they were.
        leave_out: leave out images without a label of which there is no prediction, instead of refusing them.
        required: there has to be a folder.

    Raises:
        ValueError: if a folder is required and not given.
        DataError: with every image that has no prediction, has changed since or is said to be its own, every name that two
            images share, and every picture that is stored turned (EXIF), for which nobody knows which way another tool has looked at it.
    """
    if folder is None and required:
        raise ValueError("teacher_dir: expected a folder of predictions, as `medkd teach` writes it, found none given")
    if folder is None:
        return list(items)
    known = PredictionFolder.open(folder)
    names = Counter(image_stem(item["image"]) for item in items) if known.by_content is None else Counter()
    found, problems = [(item, known.find(item["image"])) for item in items], []
    twice = sorted(name for name, count in names.items() if count > 1)
    problems += [f"{name}: expected images of different names, found {names[name]} of this" for name in twice]
    lacking = [item for item, path in found if path is None and not (leave_out and "label" not in item)]
    problems += [known.lack(item["image"]) for item in lacking]
    problems += [
        f"{path}: expected a prediction, found the image itself"
        for item, path in found
        if path and path.samefile(item["image"])
    ]
    problems += [
        f"{item['image']}: expected an upright picture, found one that is stored turned (EXIF), of which {path} may be either way"
        for item, path in found
        if path and known.by_content is None and is_turned(item["image"])
    ]
    if problems:
        raise DataError(folder, problems)
    left = sum(path is None for _, path in found)
    if left:
        _logger.warning("%s: %d images without a label are left out, which have no prediction there", folder, left)
    return [{**item, "teacher": str(path)} for item, path in found if path is not None]


@dataclass
class PredictionFolder:
    """What a folder of predictions holds.

    Attributes:
        path: the folder.
        by_name: a prediction's file by the name of its image, where there is no index.
        by_content: by the SHA-256 of its image, where there is one.
    """

    path: Path
    by_name: Mapping[str, Path] = field(default_factory=dict)
    by_content: Mapping[str, Path] | None = None
    _names: frozenset[str] = frozenset()

    @classmethod
    def open(cls, folder: str | Path) -> PredictionFolder:
        """Read the index, or else the names.

        Raises:
            FileNotFoundError: if there is no such folder.
            DataError: if two files are of one name, NAME.nii.gz and NAME.png for example.
        """
        path = Path(folder)
        if not path.is_dir():
            raise FileNotFoundError(f"{path}: expected a folder of predictions, as `medkd teach` writes it, found none")
        if not (path / INDEX).is_file():
            files = [file for file in sorted(path.iterdir()) if file.name.endswith(PREDICTION_SUFFIXES)]
            soft = {_stem(file) for file in files if file.suffix == ".npz"}  # beside which nnU-Net writes the classes
            files = [file for file in files if not (file.name.endswith(".nii.gz") and _stem(file) in soft)]
            counts = Counter(map(_stem, files))
            twice = [f"{name}: expected one file, found {count}" for name, count in counts.items() if count > 1]
            if twice:
                raise DataError(path, twice)
            return cls(path, by_name={_stem(file): file for file in files})
        rows = [row for row in read_index(path) if (path / row["prediction"]).is_file()]
        content = {row["sha256"]: path / row["prediction"] for row in rows}
        return cls(path, by_content=content, _names=frozenset(Path(row["image"]).name for row in rows))

    def find(self, image: str | Path) -> Path | None:
        """The prediction of an image; ``None`` if there is none."""
        if self.by_content is not None:
            return self.by_content.get(content_hash(image))
        stem = image_stem(image)
        names = (one + postfix for one in (stem, stem.removesuffix(_NNUNET_CHANNEL)) for postfix in _POSTFIXES)
        return next((self.by_name[name] for name in names if name in self.by_name), None)

    def lack(self, image: str | Path) -> str:
        """What to say of an image without one."""
        if Path(image).name in self._names:
            return f"{image}: expected the image that the teacher has seen, found another: it has changed since, or is one of the same name"
        return f"{image}: expected a prediction of it, found none"


def read_index(folder: Path) -> Iterable[dict[str, str]]:
    """The index's complete rows: of a run that was killed the last may be cut short."""
    text = (folder / INDEX).read_text(encoding="utf-8") if (folder / INDEX).is_file() else ""
    complete = text[: text.rfind("\n") + 1]
    return csv.DictReader(complete.splitlines())


def image_stem(image: str | Path) -> str:
    """An image's name without what tells its kind; of a folder of DICOM files the whole name."""
    path = Path(image)
    return path.name if path.is_dir() else _stem(path)


def _stem(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return name[: name.rfind(".")] if "." in name else name
