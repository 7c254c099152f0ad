"""What to run inference on: files and DICOM folders under a path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medkd.reading.images import FRAME_SUFFIXES, is_frame

__all__ = ["find_frames", "find_studies", "images_by_stem", "output_name"]

_EXPECTED = f"expected an image file or a folder of {', '.join(FRAME_SUFFIXES)} (whole slides: slides.yaml of ikdmil)"


def find_studies(path: str | Path) -> list[dict[str, str]]:
    """The images that a path names.

    Args:
        path: a NIfTI file; the folder of one DICOM series; or a folder of NIfTI files and of such folders.

    Returns:
        ``[{"image": path}, …]``, sorted.

    Raises:
        FileNotFoundError: if the path does not exist or holds no image.
        ValueError: if two images would give results of one name.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: expected a NIfTI file, a DICOM folder or a folder of them, found nothing there"
        )
    found = [path] if path.is_file() else _inside(path)
    if not found:
        raise FileNotFoundError(f"{path}: expected .nii, .nii.gz or DICOM files, found none")
    return _distinct(path, found, [_stem(image) for image in found])


def find_frames(path: str | Path) -> list[dict[str, str]]:
    """The image files (JPEG, PNG, TIFF, BMP) that a path names: itself, or those in the folder.

    Raises:
        FileNotFoundError: if the path does not exist or holds no image.
        ValueError: if the file is of another kind, or two images would give results of one name.
    """
    path = Path(path)
    found = [path] if path.is_file() else sorted(p for p in path.glob("[!.]*") if is_frame(p))
    if not found:
        raise FileNotFoundError(f"{path}: {_EXPECTED}, found none")
    if not is_frame(found[0]):
        raise ValueError(f"{path}: {_EXPECTED}, found another file")
    return _distinct(path, found, [image.stem for image in found])


def images_by_stem(folder: Path, problems: list[str]) -> dict[str, Path]:
    """The image files of a folder by name without extension; what is ambiguous or missing joins the problems."""
    if not folder.is_dir():
        problems.append(f"{folder}: expected a folder of images, found nothing there")
        return {}
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if is_frame(path) and not path.name.startswith("."):
            if path.stem in files:
                problems.append(f"{path}: expected one file of this stem, found {files[path.stem].name} too")
            files[path.stem] = path
    return files


def output_name(meta: Mapping[str, Any], saver: Any = None) -> dict[str, Any]:
    """``output_name_formatter`` of MONAI's ``SaveImage``: the study's own name.

    MONAI's formatter takes what follows the last point for an extension, and folders of DICOM are often named by UID.
    """
    return {"subject": _stem(Path(str(meta["filename_or_obj"]))) + ".nii", "idx": None}


def _distinct(path: Path, found: list[Path], names: list[str]) -> list[dict[str, str]]:
    """The items, after a check that no result would replace another."""
    count = Counter(names)
    twice = [str(image) for image, name in zip(found, names, strict=True) if count[name] > 1]
    if twice:
        raise ValueError(f"{path}: expected studies of different names, or one result would replace another: {twice}")
    return [{"image": str(image)} for image in found]


def _stem(image: Path) -> str:
    return image.name.removesuffix(".gz").removesuffix(".nii")


def _inside(folder: Path) -> list[Path]:
    volumes = sorted(p for p in folder.iterdir() if p.name.endswith((".nii", ".nii.gz")) and not p.name.startswith("."))
    series = [folder] if _is_dicom_folder(folder) else [p for p in sorted(folder.iterdir()) if _is_dicom_folder(p)]
    return volumes + series


def _is_dicom_folder(folder: Path) -> bool:
    """Whether any file in it has the DICOM preamble or extension; old files have one without the other."""
    return folder.is_dir() and any(_is_dicom(file) for file in folder.iterdir() if file.is_file())


def _is_dicom(file: Path) -> bool:
    if file.name.upper() == "DICOMDIR":  # an index of folders, not an image
        return False
    if file.suffix.lower() in {".dcm", ".ima"}:
        return True
    with file.open("rb") as content:
        content.seek(128)
        return content.read(4) == b"DICM"
