"""Regions of whole slides, as QuPath and DSA ask for them: a place in, polygons out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import Transform
from monailabel.transform.writer import PolygonWriter
from monailabel.utils.others.label_colors import get_color
from numpy.typing import NDArray
from torch import Tensor

from medkd.monailabel.runtimes import StudentInferTask
from medkd.reading.slides import Slide, open_slide
from medkd.slides import Grid, map_region, network_downsample, tissue_mask
from medkd.slides.contours import Ring, area, find_contours, moved, without_holes

__all__ = ["CheckRegiond", "TileInferTask"]


class CheckRegiond(Transform):
    """The region of a request, which must lie in its slide.

    In: ``image``, a slide's path; ``location`` (x and y) and ``size`` (width and height) in pixels of level 0; ``level``.

    Raises:
        ValueError: for an empty region, one outside the slide, or a level that it does not have.
        OSError: if the slide cannot be read.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item unchanged, or an error."""
        slide, level = open_slide(str(data["image"])), int(data.get("level") or 0)
        (top, left), (width, height) = _place(data, slide), [int(v) for v in data["size"]]
        if not 0 <= level < len(slide.downsamples):
            raise ValueError(f"expected a level below {len(slide.downsamples)}, got {level}")
        rows, columns = slide.size
        if min(left, top) < 0 or min(width, height) < 1 or left + width > columns or top + height > rows:
            raise ValueError(
                f"expected a region inside the slide's {columns} × {rows} pixels, got {width} × {height} at ({left}, {top})"
            )
        return dict(data)


class RegionMapper:
    """The map of ``slides.yaml`` for regions: at the resolution that the student was trained with, whatever a request says.

    Args:
        bundle: its folder.
        device: of the network.
    """

    def __init__(self, bundle: Path, device: str) -> None:
        self.config = ConfigParser()
        self.config.read_config(str(bundle / "configs" / "slides.yaml"))
        self.config.update({"bundle_root": str(bundle), "device": device})
        self.device = torch.device(device)

    def polygons(self, slide: Slide, location: tuple[int, int], size: tuple[int, int], network: Any) -> list[Ring]:
        """Polygons of ``[x, y]`` in level-0 pixels of the slide around what is above the threshold; holes are cut in.

        Args:
            slide: the slide.
            location: row and column of the region's upper left corner.
            size: its rows and columns.
            network: the student, on the device.
        """
        grid = self._grid(slide)
        tiles = grid.tiles_on(*tissue_mask(slide)) if self._value("tissue") else None
        probability = map_region(
            slide, grid, location, size, lambda pixels: self._predict(pixels, network), tiles=tiles
        )
        found = find_contours(255 * probability, threshold=self._value("threshold"), scale=1, size=size)
        corner = np.array(location[::-1])
        return [(np.array(without_holes(rings)).round() + corner).astype(int).tolist() for rings in found]

    def _grid(self, slide: Slide) -> Grid:
        resolution = {key: self._value(key) for key in ("mpp", "downsample", "slide_mpp")}
        layout = {key: self._value(key) for key in ("tile_size", "halo", "map_downsample")}
        return Grid(slide.size, network_downsample(slide, **resolution), **layout)

    @torch.no_grad()
    def _predict(self, pixels: NDArray[np.uint8], network: Any) -> Tensor:
        image = torch.tensor(np.moveaxis(pixels, -1, 0))
        batch = self._value("preprocessing")({"image": image})["image"][None].to(self.device)
        output = self._value("inferer")(batch, network)[0]
        smooth: Tensor = self._value("postprocessing")({"pred": output})["pred"]
        return smooth

    def _value(self, key: str) -> Any:
        return self.config.get_parsed_content(key)


class TileInferTask(StudentInferTask):
    """A bundle for tiles: pictures as the stock task does them, regions of slides as polygons in level-0 pixels."""

    def info(self) -> dict[str, Any]:
        """As the stock task; QuPath lists what says ``pathology``."""
        known: dict[str, Any] = super().info()
        return {**known, "pathology": True}

    def pre_transforms(self, data: Any = None) -> list[Any]:
        """The bundle's own; a region is read while it is inferred."""
        return [CheckRegiond()] if _is_region(data) else list(super().pre_transforms(data))

    def run_inferer(self, data: Any, convert_to_batch: bool = True, device: str = "cuda") -> Any:
        """As the stock task; of a region the result is its polygons, as the stock contours are passed on."""
        if not _is_region(data):
            return super().run_inferer(data, convert_to_batch, device)
        slide, (width, height) = open_slide(str(data["image"])), [int(v) for v in data["size"]]
        mapper = RegionMapper(Path(self.bundle_path), device)
        network = self._get_network(device, data)
        found = mapper.polygons(slide, _place(data, slide), (height, width), network)
        if _is_qupath_s(data):
            (found,) = moved([found], slide.corner)
        smallest = int(data.get("min_poly_area") or 0)
        polygons = [ring for ring in found if area(ring) >= smallest]
        return {**data, self.output_json_key: self._annotation(data, polygons)} if polygons else data

    def _annotation(self, data: Mapping[str, Any], polygons: list[Ring]) -> dict[str, Any]:
        name = next(iter(self.labels))
        elements, colours = [{"label": name, "contours": polygons}], {name: get_color(name, data.get("label_colors"))}
        place = {key: data[key] for key in ("location", "size")}
        return {"annotation": {**place, "elements": elements, "labels": colours}}

    def post_transforms(self, data: Any = None) -> list[Any]:
        """The bundle's own; a region's polygons are there already."""
        return [] if _is_region(data) else list(super().post_transforms(data))

    def writer(self, data: Any, extension: str | None = None, dtype: Any = None) -> tuple[Any, Any]:
        """A mask's file, or polygons."""
        if not _is_region(data):
            written: tuple[Any, Any] = super().writer(data, extension, dtype)
            return written
        polygons: tuple[Any, Any] = PolygonWriter(label=self.output_label_key, json=self.output_json_key)(data)
        return polygons


def _place(data: Mapping[Hashable, Any], slide: Slide) -> tuple[int, int]:
    """Row and column at which a request's region begins."""
    left, top = (int(value) for value in data["location"])
    return (top + slide.corner[0], left + slide.corner[1]) if _is_qupath_s(data) else (top, left)


def _is_qupath_s(data: Mapping[Hashable, Any]) -> bool:
    """Whether QuPath asks, which alone takes ASAP's polygons: it counts from the corner of what was scanned."""
    return data.get("output") == "asap"


def _is_region(data: Any) -> bool:
    return bool(data) and bool(data.get("size")) and sum(data["size"]) > 0
