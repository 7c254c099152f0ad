"""SHA-256 of files, each read once as long as it does not change."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from medkd.files import sha256

__all__ = ["remembered"]

_logger = logging.getLogger(__name__)

_LARGE = 2**31  # bytes that are worth a word before they are read


def remembered(files: Sequence[str], place: Path) -> dict[str, str]:
    """SHA-256 of files, by path; what is not known is read, several files at once.

    Args:
        files: paths.
        place: the SQLite file that keeps digests by path, size and times; where none can be kept, every file is read.

    Raises:
        OSError: if a file cannot be read.
    """
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
