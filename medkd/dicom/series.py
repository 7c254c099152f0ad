"""One DICOM series with everything that is in its files, for what refers to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medkd.reading.series import series_in, series_problems, slice_height

__all__ = ["Series", "read_series"]


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
        ValueError: with every problem that ``medkd.reading.series_problems`` finds.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected the folder of a DICOM series, found none")
    problems = series_problems(folder, modality=modality)
    if problems:
        raise ValueError(f"{folder}: " + "; ".join(problems))
    (slices,) = series_in(folder).values()
    return Series(folder, sorted(slices, key=slice_height))
