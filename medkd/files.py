"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

__all__ = ["atomic_folder", "atomic_path", "content_hash", "partial_path", "sha256"]

_MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:6]


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` on success, remove it on any error.

    What a killed process left of the same file is removed too.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _begun(target)
    try:
        yield partial
        with partial.open("r+b") as written:  # what is open for reading alone cannot be written out on Windows
            os.fsync(written.fileno())
        partial.replace(target)
        _write_out(target.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty temporary folder beside ``path``; rename it to ``path`` on success, remove it on any error.

    Raises:
        FileExistsError: if ``path`` is a file, or a folder that holds anything.
    """
    target = Path(path).absolute()
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise FileExistsError(f"{target} exists and is not an empty folder; name another output or remove it first")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _begun(target)
    partial.mkdir()
    try:
        yield partial
        partial.replace(target)
        _write_out(target.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def partial_path(target: Path, owner: str = "") -> Path:
    """What a file, or a folder, is called until it is whole: by its process, and by its machine, for others may see the same disk."""
    return target.with_name(f".{owner or os.getpid()}-{_MACHINE}-{target.name}")


def _begun(target: Path) -> Path:
    """The path to begin with; what processes of this machine that are no more left of the same file is removed."""
    for left in target.parent.glob(f".*-{_MACHINE}-{glob.escape(target.name)}"):
        owner = left.name[1:].partition("-")[0]
        if left == partial_path(target, owner) and owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    return partial_path(target)


def _write_out(folder: Path) -> None:
    """A name too is on the disk only when its folder is; systems that cannot open a folder see to it themselves."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def content_hash(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file's content, or of the names and contents of the files in a folder (a DICOM series)."""
    found = Path(path)
    if not found.is_dir():
        return sha256(found)
    files = sorted(file for file in found.iterdir() if file.is_file())
    listed = "\n".join(f"{file.name} {sha256(file)}" for file in files)
    return hashlib.sha256(listed.encode()).hexdigest()
