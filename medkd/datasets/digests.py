"""What the bytes of a dataset's files come to, and what two of its sections share."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medkd.datasets.digest_cache import remembered

__all__ = ["file_digests", "image_overlap", "patient_overlap", "section_digest"]

_FILES = ("image", "label", "weak_label", "mask")
_TOLD = (
    "label",
    "supervision",
    "location",
    "size",
    "level",
)  # what an item says beside its files that changes what is learned
_LENGTH = 32  # of a digest: MLflow keeps no more than 36 characters

Item = Mapping[str, Any]


def section_digest(items: Sequence[Item], digests: Mapping[str, str]) -> str:
    """Of the bytes of a section's files, in order: other folders and names give the same, another byte does not.

    Args:
        items: of a datalist, with absolute paths.
        digests: of every file or folder they name, as ``file_digests`` gives them.

    Returns:
        32 hexadecimal digits: the first half of a SHA-256.
    """
    told = [
        {
            key: digests.get(item[key], item[key]) if key in _FILES else item[key]
            for key in (*_FILES, *_TOLD)
            if key in item
        }
        for item in items
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:_LENGTH]


def patient_overlap(known: Sequence[Item], test: Sequence[Item]) -> str:
    """In words, how many test patients training or validation knows too; ``"0"`` if none.

    Args:
        known: items of training and validation.
        test: items of the test section; one with ``seen`` shows a patient that the others know by another name.
    """
    named = {str(item["patient"]): bool(item.get("seen")) for item in test if "patient" in item}
    if not named:
        return "unknown: the datalist names no patients of the test images"
    there = {str(item["patient"]) for item in known if "patient" in item}
    if not there and not any(named.values()):
        return "unknown: the datalist names no patients of the training images"
    shared = sum(seen or patient in there for patient, seen in named.items())
    return f"{shared} of {len(named)} test patients are in training or validation" if shared else "0"


def image_overlap(known: Sequence[Item], test: Sequence[Item], digests: Mapping[str, str]) -> str:
    """In words, how many test images are byte for byte one of training or validation; ``"0"`` if none."""
    there = {_region(item, digests) for item in known}
    shared = sum(_region(item, digests) in there for item in test)
    return f"{shared} of {len(test)} test images are in training or validation, byte for byte" if shared else "0"


def _region(item: Item, digests: Mapping[str, str]) -> tuple[str, str]:
    """An image, or the part of it that is meant."""
    return digests[item["image"]], json.dumps([item.get("location"), item.get("size")])


def file_digests(items: Iterable[Item], kept: str | Path | None = None) -> dict[str, str]:
    """SHA-256 of every file that items name, and of every folder (a DICOM series): of its files' names and bytes.

    Args:
        items: of a datalist, with absolute paths.
        kept: the file that keeps digests by path, size and times, so that the next call reads changed files alone;
            ``digests.db`` in ``MEDKD_CACHE`` or ``~/.cache/medkd`` by default.

    Raises:
        OSError: if a file cannot be read.
    """
    paths = dict.fromkeys(str(item[key]) for item in items for key in _FILES if isinstance(item.get(key), str))
    inside = {path: _inside(Path(path)) for path in paths}
    digests = remembered([file for files in inside.values() for file in files], Path(kept or _default_place()))
    return {
        path: digests[files[0]] if files == [path] else _of_folder({Path(file).name: digests[file] for file in files})
        for path, files in inside.items()
    }


def _inside(path: Path) -> list[str]:
    """The file itself, or a folder's files."""
    return sorted(str(file) for file in path.iterdir() if file.is_file()) if path.is_dir() else [str(path)]


def _of_folder(files: Mapping[str, str]) -> str:
    return hashlib.sha256("\n".join(f"{name} {digest}" for name, digest in files.items()).encode()).hexdigest()


def _default_place() -> Path:
    return Path(os.environ.get("MEDKD_CACHE") or Path.home() / ".cache" / "medkd") / "digests.db"
