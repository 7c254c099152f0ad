"""Reading volumes (NIfTI, DICOM series) and frames (JPEG, PNG, TIFF, BMP) as tensors, channels first."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from monai.data import PILReader
from monai.transforms import LoadImage
from PIL import Image, ImageOps
from torch import Tensor

from medkd.reading.frames import to_mask, to_rgb

__all__ = [
    "FRAME_SUFFIXES",
    "VOLUME_READERS",
    "is_frame",
    "is_turned",
    "load_image",
    "load_label",
    "read_by",
    "upright",
]

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")
VOLUME_READERS = ["PydicomReader", "NibabelReader"]
_ORIENTATION = 0x0112  # EXIF's tag; 1 is upright
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")


def is_frame(path: str | Path) -> bool:
    """Whether a path is that of a picture file."""
    return Path(path).suffix.lower() in FRAME_SUFFIXES


def is_turned(path: str | Path) -> bool:
    """Whether a file is a picture that is stored other than it is shown, as cameras do: turned or mirrored, with a note of it (EXIF).

    One that cannot be read is not: who reads it will tell.
    """
    if is_frame(path):
        with contextlib.suppress(OSError), Image.open(path) as opened:
            return bool(opened.getexif().get(_ORIENTATION, 1) != 1)
    return False


@contextlib.contextmanager
def upright(path: str | Path) -> Iterator[Path]:
    """The file, or of a turned picture an upright copy: for readers that pass EXIF's note over, as MONAI's do."""
    if not is_turned(path):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory() as folder, Image.open(path) as opened:
        copy, turned = Path(folder) / f"{Path(path).stem}.png", ImageOps.exif_transpose(opened)
        turned.info.pop("exif", None)
        (turned if turned.mode in _PNG_MODES else turned.convert("RGB")).save(copy)
        yield copy


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
