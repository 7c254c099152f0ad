"""Predictions of a teacher as files: probabilities or classes of every pixel, in the image's own geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor, PILReader
from monai.transforms import LoadImage
from torch import Tensor

from medkd.reading.images import is_frame

__all__ = ["PREDICTION_SUFFIXES", "read_prediction"]

PREDICTION_SUFFIXES = (".nii.gz", ".nii", ".npz", ".png")
_NNUNET = ("probabilities", "softmax")  # what nnU-Net's --save_probabilities calls them, versions 2 and 1
_DEEP = ("I", "I;16")  # Pillow's modes of more than 8 bits, which it cuts when it converts them
_TOLERANCE = 0.02  # of a probability, and of a sum of few
_HALF_STEP = 0.5 / 255  # by which each of a sum may be off in eight bits


def read_prediction(path: str | Path, image: Tensor, num_classes: int) -> Tensor:
    """Probabilities ``[K, *spatial]`` of an image's pixels, float32, from what a teacher of any kind has written.

    * NIfTI, ``[*spatial]``: classes; or with K = 2 the probability of the foreground. ``[*spatial, K]``: probabilities;
      ``[*spatial, K − 1]``: those of the classes from 1 on.
    * ``.npz`` of nnU-Net (``--save_probabilities``): ``[K, *spatial]`` with the axes in reverse order. It has no geometry.
    * PNG, grey, of 8 bits: ``NAME_map.png`` is the probability of the foreground as 0 to 255, whatever its values; others hold classes, or
      with K = 2 such a probability if any value is above 1.

    Args:
        path: the file.
        image: the image ``[C, *spatial]``, x first, as MONAI loads it.
        num_classes: K, with the background.

    Raises:
        ValueError: if shape, geometry or the number of classes are others, or the values are neither classes nor
            probabilities; with the file, what was expected and what was found.
    """
    path = Path(path)
    values, affine = _load(path, num_classes)
    if image.ndim == 3 and values.ndim == 4 and values.shape[-1] == 1:  # of a picture, in a file for volumes
        values, affine = values[..., 0], None
    if values.shape[1:] != image.shape[1:]:
        raise ValueError(f"{path}: expected the shape of its image {_shape(image)}, found {_shape(values)}")
    if affine is not None and isinstance(image, MetaTensor) and not np.allclose(affine, image.affine, atol=1e-3):
        found, expected = (np.round(np.asarray(one), 3).tolist() for one in (affine, image.affine))
        raise ValueError(f"{path}: expected the geometry (affine) of its image {expected}, found {found}")
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"{path}: expected finite values, found others")
    return _probabilities(values, num_classes, path)


def _load(path: Path, num_classes: int) -> tuple[Tensor, np.ndarray | None]:
    """Values ``[channels, *spatial]``, and the affine where the file has one."""
    if path.suffix == ".npz":
        with np.load(path) as content:
            found = [name for name in _NNUNET if name in content.files]
            if not found:
                raise ValueError(f"{path}: expected an array named {' or '.join(_NNUNET)}, found {content.files}")
            array = np.asarray(content[found[0]], dtype=np.float32)
        return torch.from_numpy(array.transpose(0, *reversed(range(1, array.ndim))).copy()), None
    if is_frame(path):
        values = _grey(path)
        # A map of a picture without the structure may hold no value above 1 either: its name has to say what it is.
        is_map = path.stem.endswith("_map") or (num_classes == 2 and float(values.max()) > 1)
        return (values / 255 if is_map else values), None
    volume = LoadImage(image_only=True, ensure_channel_first=True, reader="NibabelReader")(path)
    return torch.as_tensor(volume).float(), np.asarray(volume.affine)


def _grey(path: Path) -> Tensor:
    """The values ``[1, W, H]`` of a grey picture, from 0 to 255.

    Raises:
        ValueError: if it is in colour, or of more than 8 bits.
    """
    reader = PILReader(converter=lambda picture: picture if picture.mode in _DEEP else picture.convert("RGB"))
    values: Tensor = torch.as_tensor(LoadImage(image_only=True, ensure_channel_first=True, reader=reader)(path)).float()
    if not bool((values == values[:1]).all()):
        raise ValueError(f"{path}: expected a grey picture of classes or probabilities, found one in colour")
    if float(values.max()) > 255:
        raise ValueError(f"{path}: expected a picture of 8 bits, found values up to {float(values.max()):g}")
    return values[:1]


def _probabilities(values: Tensor, num_classes: int, path: Path) -> Tensor:
    channels, lowest, highest = len(values), float(values.min()), float(values.max())
    if channels == 1 and bool((values == values.round()).all()):
        if lowest < 0 or highest >= num_classes:
            raise ValueError(f"{path}: expected classes from 0 to {num_classes - 1}, found {lowest:g} to {highest:g}")
        return (values.long() == torch.arange(num_classes).view(-1, *[1] * (values.ndim - 1))).float()
    if channels not in (num_classes, num_classes - 1):
        raise ValueError(f"{path}: expected probabilities of {num_classes} classes, found {channels} channels")
    total = values.sum(0)
    if lowest < -_TOLERANCE or highest > 1 + _TOLERANCE:
        raise ValueError(f"{path}: expected probabilities from 0 to 1, found {lowest:g} to {highest:g}")
    whole, tolerance = channels == num_classes, max(_TOLERANCE, channels * _HALF_STEP)
    if float(total.max()) > 1 + tolerance or (whole and float(total.min()) < 1 - tolerance):
        raise ValueError(
            f"{path}: expected probabilities that sum to {'one' if whole else 'one at most'}, "
            f"found sums from {float(total.min()):.3g} to {float(total.max()):.3g}"
        )
    values = values.clamp(0, 1)
    return values if whole else torch.cat([(1 - values.sum(0, keepdim=True)).clamp_min(0), values])


def _shape(image: Tensor) -> str:
    return " × ".join(map(str, image.shape[1:]))
