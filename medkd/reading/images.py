"""Reading volumes (NIfTI, DICOM series) and frames (JPEG, PNG, TIFF, BMP) as tensors, channels first."""

from __future__ import annotations

from pathlib import Path

from monai.data import PILReader
from monai.transforms import LoadImage
from torch import Tensor

from medkd.reading.frames import to_mask, to_rgb

__all__ = ["FRAME_SUFFIXES", "VOLUME_READERS", "is_frame", "load_image", "load_label"]

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


def _load(path: str | Path, frames: PILReader) -> Tensor:
    readers = frames if is_frame(path) else VOLUME_READERS
    loaded: Tensor = LoadImage(image_only=True, ensure_channel_first=True, reader=readers)(path)
    return loaded
