"""Refuse bad input with a message that names the file, what was expected and what was found."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor

from medkd.reading.series import series_problems

__all__ = ["CheckCased", "CheckFilesd", "file_problem", "image_problems", "label_problems"]


class CheckFilesd(MapTransform):
    """Before loading: every path exists, and a DICOM folder holds one series that is a volume.

    Args:
        keys: keys of paths (a file, or the folder of one DICOM series).
        allow_missing_keys: do not complain about absent keys.

    Raises:
        ValueError: when called, with the path, what was expected and what was found.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item unchanged, or raise."""
        problems = [file_problem(data[key]) for key in self.key_iterator(dict(data))]
        _raise(problem for problem in problems if problem)
        return dict(data)


class CheckCased(MapTransform):
    """After loading: an image that can be learned from, and labels that belong to it.

    Args:
        keys: keys of the images, channel first, ``[channels, *spatial]``.
        label_keys: keys of the labels, ``[1, *spatial]``; absent ones are passed over.
        num_classes: number of classes with the background; labels lie in [0, num_classes) or are in ``ignore_values``.
        ignore_values: label values that mean "not annotated".
        spatial_dims: expected number of spatial dimensions.
        channels: expected number of channels.
        contrast: refuse constant images, from which nothing can be learned.

    Raises:
        ValueError: when called, with every problem of the item at once.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        label_keys: Collection[str] = (),
        num_classes: int = 2,
        ignore_values: Collection[int] = (255,),
        spatial_dims: int = 3,
        channels: int = 1,
        contrast: bool = True,
    ) -> None:
        super().__init__(keys)
        self.contrast = contrast
        self.label_keys = tuple(label_keys)
        self.num_classes = num_classes
        self.ignore_values = tuple(ignore_values)
        self.spatial_dims = spatial_dims
        self.channels = channels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item unchanged, or raise."""
        problems: list[str] = []
        for key in self.keys:
            problems += image_problems(
                data[key], spatial_dims=self.spatial_dims, channels=self.channels, contrast=self.contrast
            )
            for label_key in self.label_keys:
                if label_key in data:
                    label = data[label_key]
                    problems += label_problems(label, data[key], range(self.num_classes), self.ignore_values)
        _raise(problems)
        return dict(data)


def file_problem(path: str | Path) -> str | None:
    """What is wrong with a path before it is read, or ``None``."""
    path = Path(path)
    if not path.exists():
        return f"{path}: expected a file or a DICOM folder, found nothing there"
    if not path.is_dir():
        return None
    problems = series_problems(path)
    return f"{path}: " + "; ".join(problems) if problems else None


def image_problems(image: Tensor, *, spatial_dims: int = 3, channels: int = 1, contrast: bool = True) -> list[str]:
    """What is wrong with an image ``[channels, *spatial]``; empty if nothing is."""
    name = _name(image)
    if image.ndim != spatial_dims + 1 or image.shape[0] != channels:
        shape = " × ".join(map(str, (*image.shape[1:], image.shape[0])))
        return [
            (
                f"{name}: expected a {spatial_dims}D image of {'one channel' if channels == 1 else f'{channels} channels'}, "
                f"found {shape} (the last are channels or frames)"
            )
        ]
    values = torch.as_tensor(image).float()
    if not bool(torch.isfinite(values).all()):
        return [
            f"{name}: expected finite intensities, found {int((~torch.isfinite(values)).sum())} that are NaN or infinite"
        ]
    if contrast and bool((values == values.flatten()[0]).all()):
        return [f"{name}: expected an image with contrast, found the constant {values.flatten()[0].item():g}"]
    return []


def label_problems(label: Tensor, image: Tensor, classes: Collection[int], ignore: Collection[int]) -> list[str]:
    """What is wrong with a label ``[1, *spatial]`` of an image of the same grid; empty if nothing is."""
    name, problems = _name(label), []
    if label.shape[0] != 1:
        problems.append(f"{name}: expected one label per pixel, found {label.shape[0]} channels")
    if label.shape[1:] != image.shape[1:]:
        problems.append(f"{name}: expected the shape of its image {_shape(image)}, found {_shape(label)}")
    elif hasattr(label, "affine") and hasattr(image, "affine") and not _same_grid(label, image):
        problems.append(
            f"{name}: expected the geometry (affine) of its image {_name(image)}, found another: "
            f"{_rounded(label.affine)} against {_rounded(image.affine)}"
        )
    values = torch.as_tensor(label)
    annotated, known = torch.zeros_like(values, dtype=torch.bool), torch.zeros_like(values, dtype=torch.bool)
    for value in classes:
        annotated |= values == value
    for value in ignore:
        known |= values == value
    strange = values[~(annotated | known)]
    if strange.numel():
        shown = ", ".join(f"{v:g}" for v in torch.unique(strange)[:5].tolist())
        problems.append(f"{name}: expected the labels {sorted(classes)} or {sorted(ignore)} (ignored), found {shown}")
    elif not bool(annotated.any()):
        problems.append(f"{name}: expected an annotated pixel, found only ignored ones ({sorted(ignore)})")
    return problems


def _same_grid(label: Any, image: Any) -> bool:
    return bool(np.allclose(np.asarray(label.affine), np.asarray(image.affine), atol=1e-3))


def _name(image: Tensor) -> str:
    return str(getattr(image, "meta", {}).get("filename_or_obj", "image"))


def _shape(image: Tensor) -> str:
    return " × ".join(map(str, image.shape[1:]))


def _rounded(affine: Any) -> list[list[float]]:
    rows: list[list[float]] = np.round(np.asarray(affine)[:3], 3).tolist()
    return rows


def _raise(problems: Any) -> None:
    """One error for all problems of an item."""
    found = list(problems)
    if found:
        raise ValueError("; ".join(found))
