"""The bundles that medkd ships: in the package where it was installed, in the repository where it is being changed."""

from __future__ import annotations

import shutil
from pathlib import Path

from medkd.files import atomic_folder

__all__ = ["bundle_names", "bundle_path", "copy_bundle"]

_PACKAGE = Path(__file__).resolve().parent
# What a user makes in a bundle; it is not part of it.
_MADE = ("models", "checkpoints", "eval", "predictions", "ladder", "data", "__pycache__", ".*")


def bundle_names() -> list[str]:
    """Names of the bundles, in alphabetical order."""
    return sorted(path.name for path in _shipped().iterdir() if (path / "configs" / "metadata.json").is_file())


def bundle_path(name: str) -> Path:
    """The folder of a bundle, which is not to be written to.

    Args:
        name: the bundle's name, or its method alone: ``"kdas"`` for ``"kdas_polyp_segmentation"``.

    Raises:
        ValueError: if there is no such bundle, with those that there are.
    """
    found = [bundle for bundle in bundle_names() if name in (bundle, bundle.partition("_")[0])]
    if len(found) != 1:
        raise ValueError(f"expected the name or the method of a bundle ({', '.join(bundle_names())}), got {name!r}")
    return _shipped() / found[0]


def copy_bundle(name: str, folder: str | Path) -> Path:
    """Write a working copy of a bundle; it is complete or not there.

    Args:
        name: as for ``bundle_path``.
        folder: the folder to make; it must not hold anything yet.

    Returns:
        The folder.

    Raises:
        FileExistsError: if there is something in the folder.
        ValueError: if there is no such bundle.
    """
    source, target = bundle_path(name), Path(folder)
    with atomic_folder(target) as partial:
        shutil.copytree(source, partial, ignore=shutil.ignore_patterns(*_MADE), dirs_exist_ok=True)
    return target


def _shipped() -> Path:
    inside = _PACKAGE / "bundles"
    return inside if inside.is_dir() else _PACKAGE.parent / "bundles"
