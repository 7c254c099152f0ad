"""Whether the DICOM files of a folder are one volume, told by their headers: every slice there, once, in one orientation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["series_in", "series_problems", "slice_height"]

_TAGS = (
    "SeriesInstanceUID", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "Rows", "Columns",
    "NumberOfFrames", "Modality",
)  # fmt: skip
_PARALLEL = 1e-3  # of a direction cosine
_UNEVEN = 0.05  # of the distance of slices; scanners round positions


def series_problems(folder: str | Path, *, modality: str = "") -> list[str]:
    """What keeps the DICOM files of a folder from being one volume; nothing of the patient is said.

    MONAI's reader, the one of every bundle, would stack them all the same: what lies behind a gap would move, and of
    two orientations one would be wrong.

    Args:
        folder: the folder.
        modality: what the series must be (``"MR"``, ``"CT"``, …); any if empty.

    Returns:
        Every problem: several series or none, several phases (4D), two orientations or sizes, missing slices, no
        position, numbers that are not in the order of the slices, another modality.
    """
    series = series_in(folder, tags=_TAGS)
    if len(series) != 1:
        counts = sorted(map(len, series.values()))
        found = f"{len(series)} series with {counts} files" if series else "no DICOM file"
        return [f"expected a folder with one DICOM series, found {found}"]
    (slices,) = series.values()
    problems = [*_image_problems(slices), *_modality_problems(slices, modality)]
    return problems or _stack_problems(sorted(slices, key=slice_height))


def series_in(folder: str | Path, *, tags: tuple[str, ...] | None = None) -> dict[str, list[Any]]:
    """The data sets of every series in a folder, by file name; a DICOMDIR is none.

    Args:
        folder: the folder.
        tags: what to read of the headers; ``None``: everything, pixels too.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    series: dict[str, list[Any]] = {}
    for file in sorted(p for p in Path(folder).iterdir() if p.is_file()):
        try:
            found = dcmread(file, stop_before_pixels=tags is not None, specific_tags=list(tags) if tags else None)
        except InvalidDicomError:
            continue  # a text file, for example
        if found.get("SeriesInstanceUID"):
            series.setdefault(str(found.SeriesInstanceUID), []).append(found)
    return series


def slice_height(dataset: Any) -> float:
    """Of a slice along the normal, in mm."""
    row, column = _orientation(dataset).reshape(2, 3)
    return float(np.dot(np.cross(row, column), np.asarray(dataset.ImagePositionPatient, dtype=float)))


def _image_problems(slices: list[Any]) -> list[str]:
    """What keeps slices from being one volume."""
    without = [s for s in slices if not (s.get("ImagePositionPatient") and s.get("ImageOrientationPatient"))]
    if without:
        return [f"expected slices with a position and an orientation, found {len(without)} without"]
    problems = []
    frames = max(int(s.get("NumberOfFrames") or 1) for s in slices)
    if frames > 1:
        problems.append(f"expected one frame in a file, found {frames}; convert multi-frame objects first")
    grids = {(int(s.Rows), int(s.Columns)) for s in slices}
    if len(grids) > 1:
        problems.append(f"expected slices of one size, found {sorted(grids)}")
    orientations = np.stack([_orientation(s) for s in slices])
    alike = np.isclose(orientations[:, None], orientations, atol=_PARALLEL).all(-1)
    turned = len(slices) - int(alike.sum(1).max())  # whichever slice is read first
    if turned:
        problems.append(f"expected one orientation, found {turned} of {len(slices)} slices in another")
    positions = {tuple(s.ImagePositionPatient) for s in slices}
    if len(positions) < len(slices):
        found = f"{len(slices)} slices at {len(positions)} positions; split the phases into folders"
        problems.append(f"expected a DICOM series with one slice at a position, found {found}")
    return problems


def _modality_problems(slices: list[Any], modality: str) -> list[str]:
    found = sorted({str(s.get("Modality", "")) for s in slices})
    return [f"expected the modality {modality}, found {', '.join(found)}"] if modality and found != [modality] else []


def _stack_problems(slices: list[Any]) -> list[str]:
    """Of slices in the order of their positions: MONAI stacks them by their numbers, and closes gaps."""
    steps = np.diff([slice_height(s) for s in slices])
    order = np.diff([int(s.get("InstanceNumber") or 0) for s in slices])
    back = min(int((order <= 0).sum()), int((order >= 0).sum()))  # they may run either way
    if back:
        found = f"{back} of {len(order)} steps that go back"
        return [f"expected slices that follow each other by their instance numbers, found {found}"]
    usual = float(np.median(steps)) if len(steps) > 1 else 0.0
    gaps = [i for i, step in enumerate(steps) if usual and abs(step - usual) > _UNEVEN * usual]
    if not gaps:
        return []
    worst = max(gaps, key=lambda i: float(steps[i]))
    found = f"{steps[worst]:.2f} mm after slice {worst + 1} of {len(slices)}"
    return [f"expected slices every {usual:.2f} mm, found {found}; a slice may be missing"]


def _orientation(dataset: Any) -> NDArray[np.float64]:
    return np.asarray(dataset.ImageOrientationPatient, dtype=float)
