"""Regions of whole slides, as QuPath and DSA ask for them: a place in, polygons out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from monailabel.tasks.infer.bundle import BundleInferTask
from monailabel.transform.post import FindContoursd
from monailabel.transform.writer import PolygonWriter

from medkd.reading.slides import open_slide, read_tile

__all__ = ["LoadRegiond", "TileInferTask"]


class LoadRegiond(Transform):
    """The region of a request instead of the whole file.

    In: ``image``, a slide's path; ``location`` (x and y) and ``size`` (width and height) in pixels of level 0; ``level``.
    Out: ``image`` ``[3, W, H]``, RGB in [0, 255], of that level's pixels.

    Raises:
        ValueError: for an empty region, one outside the slide, or a level that it does not have.
        OSError: if the slide cannot be read.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its pixels."""
        item, path, level = dict(data), str(data["image"]), int(data.get("level") or 0)
        (left, top), (width, height) = ([int(v) for v in data[key]] for key in ("location", "size"))
        slide = open_slide(path)
        if not 0 <= level < len(slide.downsamples):
            raise ValueError(f"expected a level below {len(slide.downsamples)}, got {level}")
        rows, columns = slide.size
        if min(left, top) < 0 or min(width, height) < 1 or left + width > columns or top + height > rows:
            raise ValueError(
                f"expected a region inside the slide's {columns} × {rows} pixels, got {width} × {height} at ({left}, {top})"
            )
        scale = slide.downsamples[level]
        size = (max(1, round(height / scale)), max(1, round(width / scale)))
        pixels = read_tile(path, (top, left), size, level=level)
        meta = {"filename_or_obj": path, "spatial_shape": [size[1], size[0]]}
        item["image"] = MetaTensor(torch.tensor(pixels).permute(2, 1, 0).float(), meta=meta)
        return item


class ToLevel0d(Transform):
    """The mask of a region, ``[W, H]``, in level-0 pixels, which polygons are counted in."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its mask in the request's ``size``."""
        mask = torch.as_tensor(data[self.key])[None, None].float()
        size = [int(v) for v in data["size"]]
        return {
            **data,
            self.key: torch.nn.functional.interpolate(mask, size, mode="nearest-exact")[0, 0].byte().numpy(),
        }


class TileInferTask(BundleInferTask):  # type: ignore[misc] # the server is not installed where medkd is checked
    """A bundle for tiles: pictures as the stock task does them, regions of slides as polygons in level-0 pixels."""

    def info(self) -> dict[str, Any]:
        """As the stock task; QuPath lists what says ``pathology``."""
        known: dict[str, Any] = super().info()
        return {**known, "pathology": True}

    def pre_transforms(self, data: Any = None) -> list[Any]:
        """The bundle's own, with another start for a region."""
        own = list(super().pre_transforms(data))
        return [LoadRegiond(), *own[1:]] if _is_region(data) else own

    def post_transforms(self, data: Any = None) -> list[Any]:
        """The bundle's own, and contours for a region."""
        own = list(super().post_transforms(data))
        if not _is_region(data):
            return own
        # The last one resizes to the file's own size, which a region does not have.
        key = self.output_label_key
        return [*own[:-1], ToLevel0d(key), FindContoursd(keys=key, labels=self.labels)]

    def writer(self, data: Any, extension: str | None = None, dtype: Any = None) -> tuple[Any, Any]:
        """A mask's file, or polygons."""
        if not _is_region(data):
            written: tuple[Any, Any] = super().writer(data, extension, dtype)
            return written
        polygons: tuple[Any, Any] = PolygonWriter(label=self.output_label_key, json=self.output_json_key)(data)
        return polygons


def _is_region(data: Any) -> bool:
    return bool(data) and bool(data.get("size")) and sum(data["size"]) > 0
