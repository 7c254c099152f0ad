"""Reading volumes (NIfTI, DICOM series) and frames (JPEG, PNG, TIFF, BMP) as tensors, channels first."""

from __future__ import annotations

from pathlib import Path

from monai.data import PILReader
from monai.transforms import LoadImage
from torch import Tensor

from medkd.reading.frames import to_mask, to_rgb

__all__ = ["FRAME_SUFFIXES", "VOLUME_READERS", "is_frame", "load_image", "load_label", "read_by"]

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")
VOLUME_READERS = ["PydicomReader", "NibabelReader"]


def is_frame(path: str | Path) -> bool:
    """Whether a path is that of a picture file."""
    return Path(path).suffix.lower() in FRAME_SUFFIXES


def load_image(path: str | Path) -> Tensor:
    """A volume ``[C, *spatial]``, or a frame ``[3, W, H]`` in RGB of 8 bit."""
    return _load(path, PILReader(converter=to_rgb))


def load_label(path: str | Path) -> Tensor:
    """A label volume ``[1, *spatial]``, or a mask ``[1, W, H]`` of 0 and 1."""
    return _load(path, PILReader(converter=to_mask))


def read_by(reader: LoadImage, path: str | Path) -> Tensor:
    """What MONAI's loader makes of a file.

    Raises:
        ValueError: with the path and the reason in one line, whatever a decoder raises.
    """
    try:
        loaded: Tensor = reader(path)
    except Exception as error:
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{path}: cannot be read ({reason[0]})") from error
    return loaded


def _load(path: str | Path, frames: PILReader) -> Tensor:
    readers = frames if is_frame(path) else VOLUME_READERS
    return read_by(LoadImage(image_only=True, ensure_channel_first=True, reader=readers), path)
