"""One DICOM series as a volume: every slice there, once, in one orientation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medkd.transforms.checks import file_problem

__all__ = ["Series", "read_series"]

_PARALLEL = 1e-3  # of a direction cosine
_UNEVEN = 0.05  # of the distance of slices; scanners round positions


@dataclass(frozen=True)
class Series:
    """The headers and pixels of a series.

    Attributes:
        path: its folder.
        slices: the data sets, along the slice axis.
    """

    path: Path
    slices: list[Any]

    @property
    def modality(self) -> str:
        """As in DICOM: MR, CT, …."""
        return str(self.slices[0].get("Modality", ""))


def read_series(path: str | Path, *, modality: str = "") -> Series:
    """Read and check the series in a folder.

    Args:
        path: the folder.
        modality: what it must be; any if empty.

    Returns:
        The series, its slices sorted along their common normal.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: with every problem: several series, several phases (4D), two orientations or grids, missing slices,
            no position, another modality. Nothing of the patient is in the message.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected the folder of a DICOM series, found none")
    problem = file_problem(folder)
    if problem:
        raise ValueError(problem)
    slices = _read(folder)
    problems = [*_image_problems(slices), *_modality_problems(slices, modality)]
    if not problems:
        slices.sort(key=_height)
        problems = _spacing_problems(slices)
    if problems:
        raise ValueError(f"{folder}: " + "; ".join(problems))
    return Series(folder, slices)


def _read(folder: Path) -> list[Any]:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    found = []
    for file in sorted(p for p in folder.iterdir() if p.is_file()):
        try:
            dataset = dcmread(file)
        except InvalidDicomError:
            continue  # a DICOMDIR's neighbour, a text file
        if "SeriesInstanceUID" in dataset:
            found.append(dataset)
    return found


def _image_problems(slices: list[Any]) -> list[str]:
    """What keeps slices from being one volume."""
    without = [s for s in slices if "ImagePositionPatient" not in s or "ImageOrientationPatient" not in s]
    if without:
        return [f"expected slices with a position and an orientation, found {len(without)} without"]
    problems = []
    frames = {int(s.get("NumberOfFrames", 1) or 1) for s in slices}
    if frames != {1}:
        problems.append(f"expected one frame in a file, found {max(frames)}; convert multi-frame objects first")
    grids = {(int(s.Rows), int(s.Columns)) for s in slices}
    if len(grids) > 1:
        problems.append(f"expected slices of one size, found {sorted(grids)}")
    orientations = np.stack([_orientation(s) for s in slices])
    alike = np.isclose(orientations[:, None], orientations, atol=_PARALLEL).all(-1)
    turned = len(slices) - int(alike.sum(1).max())  # whichever slice is read first
    if turned:
        problems.append(f"expected one orientation, found {turned} of {len(slices)} slices in another")
    return problems


def _modality_problems(slices: list[Any], modality: str) -> list[str]:
    found = sorted({str(s.get("Modality", "")) for s in slices})
    return [f"expected the modality {modality}, found {', '.join(found)}"] if modality and found != [modality] else []


def _spacing_problems(slices: list[Any]) -> list[str]:
    """Gaps: a volume's reader would close them, and shift everything behind them."""
    if len(slices) < 3:
        return []
    steps = np.diff([_height(s) for s in slices])
    usual = float(np.median(steps))
    gaps = [i for i, step in enumerate(steps) if abs(step - usual) > _UNEVEN * usual]
    if not gaps:
        return []
    worst = max(gaps, key=lambda i: float(steps[i]))
    found = f"{steps[worst]:.2f} mm after slice {worst + 1} of {len(slices)}"
    return [f"expected slices every {usual:.2f} mm, found {found}; a slice may be missing"]


def _orientation(dataset: Any) -> NDArray[np.float64]:
    return np.asarray(dataset.ImageOrientationPatient, dtype=float)


def _height(dataset: Any) -> float:
    """Of a slice along the normal, in mm."""
    row, column = _orientation(dataset).reshape(2, 3)
    return float(np.dot(np.cross(row, column), np.asarray(dataset.ImagePositionPatient, dtype=float)))
