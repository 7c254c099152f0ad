"""What the bytes of a dataset's files come to, and what two of its sections share."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from medkd.files import sha256

__all__ = ["file_digests", "image_overlap", "patient_overlap", "section_digest"]

_logger = logging.getLogger(__name__)

_FILES = ("image", "label", "weak_label", "mask")
_TOLD = (
    "label",
    "supervision",
    "location",
    "size",
    "level",
)  # what an item says beside its files that changes what is learned
_LARGE = 2**31  # bytes that are worth a word before they are read
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


def file_digests(items: Iterable[Item], remembered: str | Path | None = None) -> dict[str, str]:
    """SHA-256 of every file that items name, and of every folder (a DICOM series): of its files' names and bytes.

    Args:
        items: of a datalist, with absolute paths.
        remembered: the file that keeps digests by path, size and times, so that the next call reads changed files alone;
            ``digests.db`` in ``MEDKD_CACHE`` or ``~/.cache/medkd`` by default.

    Raises:
        OSError: if a file cannot be read.
    """
    paths = dict.fromkeys(str(item[key]) for item in items for key in _FILES if isinstance(item.get(key), str))
    inside = {path: _inside(Path(path)) for path in paths}
    digests = _remembered([file for files in inside.values() for file in files], Path(remembered or _default_place()))
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


def _remembered(files: Sequence[str], place: Path) -> dict[str, str]:
    """Digests of files; what is not known is read, several files at once."""
    stamps = {file: _stamp(Path(file)) for file in files}
    with _cache(place) as cache:
        known = cache.known(stamps)
        unknown = [file for file in stamps if file not in known]
        size = sum(Path(file).stat().st_size for file in unknown)
        if size > _LARGE:
            _logger.info("Reading %.1f GB once, for the digests of the data.", size / 1e9)
        with ThreadPoolExecutor(max_workers=4) as pool:  # hashing leaves the interpreter to others
            fresh = dict(zip(unknown, pool.map(sha256, unknown), strict=True))
        cache.keep({file: (stamps[file], digest) for file, digest in fresh.items()})
    return {**known, **fresh}


def _stamp(path: Path) -> str:
    """What changes when a file does; the time of its entry's last change cannot be set back, as that of its bytes can."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


class _Cache:
    """Digests in a SQLite file, which several processes may use at once; one that fails knows nothing."""

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        self._connection = connection

    def known(self, stamps: Mapping[str, str]) -> dict[str, str]:
        """Digests of the files that are as they were."""
        if self._connection is None:
            return {}
        found: dict[str, str] = {}
        with contextlib.suppress(sqlite3.Error):
            for file, stamp in stamps.items():
                wanted = (_key(file), stamp)
                row = self._connection.execute("SELECT digest FROM digests WHERE path = ? AND stamp = ?", wanted)
                found.update((file, digest) for (digest,) in row)
        return found

    def keep(self, fresh: Mapping[str, tuple[str, str]]) -> None:
        """Remember stamps and digests of files."""
        if self._connection is not None:
            rows = [(_key(file), stamp, digest) for file, (stamp, digest) in fresh.items()]
            with contextlib.suppress(sqlite3.Error), self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", rows)


def _key(file: str) -> str:
    """Not the path itself, which may name a patient."""
    return hashlib.sha256(file.encode()).hexdigest()


@contextlib.contextmanager
def _cache(place: Path) -> Iterator[_Cache]:
    """The file of digests, or nothing where none can be kept."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(place, timeout=10)
        connection.execute("CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, stamp TEXT, digest TEXT)")
    except (OSError, sqlite3.Error) as error:
        _logger.warning("%s: digests cannot be kept there (%s): every start reads the data again", place, error)
        yield _Cache(None)
        return
    try:
        yield _Cache(connection)
    finally:
        connection.close()
