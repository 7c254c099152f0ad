"""Resampling beside what a server adds to an item."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai import transforms

__all__ = ["Spacingd"]


class Spacingd(transforms.Spacingd):
    """MONAI's ``Spacingd``, which sees its own keys alone; arguments and errors are the same.

    MONAI's takes every key that begins with an image's key for a dictionary of metadata: it fails on ``image_path``,
    which MONAI Label adds to every item.
    """

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """The item, its images resampled."""
        own = {key: data[key] for key in self.keys if key in data}
        return {**data, **super().__call__(own, lazy)}
