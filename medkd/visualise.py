"""Pictures of masks over images."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medkd.files import atomic_path
from medkd.reading.images import is_frame, load_image, load_label
from medkd.reading.tiles import read_tile_pixels

__all__ = ["overlay_figure", "read_image", "read_mask", "save_overlay", "small_slice"]

_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7")  # Okabe-Ito: told apart by everyone


def save_overlay(path: str | Path, rows: Mapping[str, tuple[NDArray[Any], Mapping[str, NDArray[Any]]]]) -> None:
    """Write a PNG with one row per case: the image, and the image under each mask.

    Args:
        path: the PNG to write.
        rows: for each case its image ``[W, H(, slices)]``, or ``[W, H, 3]`` in colour of 8 bit, and its named masks
            ``[W, H(, slices)]``, with 0 = background. The slice shown is the one with the most foreground in the first
            mask that has any.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = overlay_figure(rows)
    FigureCanvasAgg(figure)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=100)


def read_image(path: str | Path, region: Sequence[int] | None = None) -> NDArray[Any]:
    """A volume, or a frame ``[W, H, 3]`` of 8 bit; x comes first, as in MONAI's readers.

    Args:
        path: the file.
        region: top, left, height, width and level of a tile in it; a level below 0 where it is no slide.
    """
    if region is not None:
        top, left, height, width, level = map(int, region)
        tile = read_tile_pixels(str(path), (top, left), (height, width), level if level >= 0 else None)
        return tile.swapaxes(0, 1)
    image = np.asarray(load_image(path))
    return np.moveaxis(image, 0, -1) if is_frame(path) else image[0]


def read_mask(path: str | Path) -> NDArray[Any]:
    """A label volume, or a mask ``[W, H]`` of 0 and 1 of a frame."""
    mask: NDArray[Any] = np.asarray(load_label(path))[0]
    return mask


def overlay_figure(rows: Mapping[str, tuple[NDArray[Any], Mapping[str, NDArray[Any]]]]) -> Any:
    """The matplotlib figure of ``save_overlay``."""
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    columns = 1 + max(len(masks) for _, masks in rows.values())
    figure = Figure(figsize=(2.6 * columns, 2.8 * len(rows)))
    axes = figure.subplots(len(rows), columns, squeeze=False, gridspec_kw=_margins(len(rows)))
    for line, (case, (image, masks)) in zip(axes, rows.items(), strict=True):
        image, masks = _one_slice(image, masks)
        low, high = np.percentile(image, (1, 99))
        for axis, (name, mask) in zip(line, [(case, None), *masks.items()], strict=False):
            axis.imshow(image.swapaxes(0, 1), cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
            if mask is not None:
                shown = np.where(mask.T > 0, mask.T.astype(float), np.nan)  # what is not a number is not drawn
                axis.imshow(
                    shown,
                    cmap=ListedColormap(_COLOURS),
                    vmin=1,
                    vmax=len(_COLOURS),
                    alpha=0.55,
                    interpolation="nearest",
                )
            axis.set_title(name, fontsize=8, y=1)  # or its place is looked for
        for axis in line:
            axis.axis("off")
    return figure


def _margins(rows: int) -> dict[str, float]:
    """Room for a line of text above each image; matplotlib's search for it takes a fifth of the time or more."""
    line = 0.2 / 2.8  # of 0.2 inches, as a share of a row
    return {"left": 0.01, "right": 0.99, "bottom": 0.01 / rows, "top": 1 - line / rows, "hspace": line, "wspace": 0.03}


def small_slice(
    image: NDArray[Any], maps: Mapping[str, NDArray[Any]], *, by: str = "truth", longest: int = 192
) -> dict[str, NDArray[Any]]:
    """One slice of an image and of maps in its grid, small enough to be kept of every case.

    Args:
        image: ``[W, H(, slices)]``, or ``[W, H, 3]`` in colour of 8 bit; axes of length 1 are allowed.
        maps: ``[W, H(, slices)]`` of 8 bit. Those called ``…_uncertainty`` are averaged where they shrink, classes are not.
        by: the map with the most foreground in the slice that is taken; the middle one if it has none.
        longest: of the sides, in pixels; smaller images stay as they are.

    Returns:
        The maps ``[H, W]``, rows first, and ``image``: the bytes of a JPEG.
    """
    chosen = maps[by]
    image = image if image.shape[-1] == 3 else image.reshape(chosen.shape)
    if chosen.ndim == 3:
        depth = int((chosen > 0).sum((0, 1)).argmax()) if chosen.any() else chosen.shape[-1] // 2
        image, maps = image[..., depth], {name: one[..., depth] for name, one in maps.items()}
    width, height = chosen.shape[:2]
    share = min(1.0, longest / max(width, height))
    size = (max(1, round(width * share)), max(1, round(height * share)))
    picture = Image.fromarray(_eight_bits(image).swapaxes(0, 1)).resize(size, Image.Resampling.LANCZOS)
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=85)
    small = {name: _resized(one.swapaxes(0, 1), size, name.endswith("_uncertainty")) for name, one in maps.items()}
    return {**small, "image": np.frombuffer(jpeg.getvalue(), dtype=np.uint8)}


def _resized(values: NDArray[Any], size: tuple[int, int], smooth: bool) -> NDArray[Any]:
    kind = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(np.ascontiguousarray(values)).resize(size, kind))


def _eight_bits(image: NDArray[Any]) -> NDArray[np.uint8]:
    if image.ndim == 3:
        return image.astype(np.uint8)
    low, high = np.percentile(image, (1, 99))
    scaled: NDArray[np.uint8] = (255 * np.clip((image - low) / max(high - low, 1e-6), 0, 1)).astype(np.uint8)
    return scaled


def _one_slice(image: NDArray[Any], masks: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """The most telling slice of a volume; a 2D image as it is."""
    if image.ndim == 2 or all(mask.ndim == 2 for mask in masks.values()):
        return image.astype(np.uint8) if image.ndim == 3 else image, dict(masks)
    filled = [mask for mask in masks.values() if (mask > 0).any()]
    depth = int((filled[0] > 0).sum((0, 1)).argmax()) if filled else image.shape[-1] // 2
    return image[..., depth], {name: mask[..., depth] for name, mask in masks.items()}
