"""Synthetic endoscopy frames: mucosa with folds and vessels, highlights, dark borders, and polyps among look-alikes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from medkd.datasets.datalist import summary, write_datalist
from medkd.files import atomic_folder

__all__ = ["make_polyp_phantoms", "polyp_phantom"]

Map = NDArray[np.float64]


def make_polyp_phantoms(
    output: str | Path,
    *,
    training: int = 80,
    unlabelled: int = 0,
    validation: int = 16,
    test: int = 40,
    size: int = 128,
    seed: int = 0,
) -> dict[str, dict[str, int]]:
    """Write frames and masks as PNG with a datalist.

    Args:
        output: folder to make; it must not hold anything yet.
        training: training frames with a mask.
        unlabelled: training frames without one.
        validation: validation frames.
        test: test frames.
        size: side of the larger side in pixels, >= 64.
        seed: everything is drawn from it.

    Returns:
        For each section the number of images, patients and strong images.

    Raises:
        FileExistsError: if the output holds something.
        ValueError: if a number is out of range.
    """
    if size < 64 or min(training, validation, test) < 1:
        raise ValueError("expected size >= 64 and at least one frame in every group")
    sections = ["training"] * training + ["validation"] * validation + ["test"] * test + ["unlabelled"] * unlabelled
    datalist: dict[str, Any] = {"name": "polyp phantoms", "labels": {"0": "background", "1": "polyp"}}
    with atomic_folder(output) as partial:
        for folder in ("images", "masks"):
            (partial / folder).mkdir()
        for number, section in enumerate(sections):
            frame, mask = polyp_phantom(np.random.default_rng([seed, number]), size=size)
            name = f"phantom{number + 1:04d}"
            item = {"image": f"images/{name}.png", "patient": name}
            Image.fromarray(frame).save(partial / item["image"])
            if section == "unlabelled":
                datalist["training"].append(item | {"supervision": "none"})
                continue
            item["label"] = f"masks/{name}.png"
            Image.fromarray(mask).save(partial / item["label"])
            datalist.setdefault(section, []).append(item | ({"dataset": "phantoms"} if section == "test" else {}))
        write_datalist(partial / "datalist.json", datalist)
    return {section: summary(datalist[section]) for section in ("training", "validation", "test")}


def polyp_phantom(rng: np.random.Generator, *, size: int = 128) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One frame ``[H, W, 3]`` and its mask ``[H, W]`` (0 or 255); H is about 0.8 W, as endoscopes have it."""
    shape = (round(size * 0.8), size)
    grid = np.indices(shape).astype(float) / size
    height = _mucosa(rng, shape)
    mask = np.zeros(shape, dtype=bool)
    for _ in range(rng.choice([1, 1, 1, 2])):
        blob = _blob(rng, grid)
        mask |= blob > 0
        height += rng.uniform(1.0, 1.6) * np.sqrt(np.clip(blob, 0, None))
    for _ in range(3):  # bulges without the polyp's colour: folds seen from the front
        height += rng.uniform(0.5, 1.2) * np.sqrt(np.clip(_blob(rng, grid), 0, None))
    slope = np.gradient(ndimage.gaussian_filter(height, 1.0), 1 / size)
    light = np.array([rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5)])
    shade = 0.55 + 0.05 * (slope[0] * light[0] + slope[1] * light[1])
    colour = np.array([0.85, 0.45, 0.38]) * rng.uniform(0.9, 1.1, 3)
    frame = shade[..., None] * colour
    frame[mask] *= 1 + rng.uniform(0.03, 0.12) * np.array([1.0, -0.6, -0.4])  # redder, a little
    frame *= 1 - 0.25 * _vessels(rng, shape)[..., None] * np.array([0.4, 1.0, 1.0])
    shine = (height > np.quantile(height, 0.97)) & (ndimage.gaussian_filter(rng.normal(size=shape), 1.2) > 0.25)
    frame[ndimage.binary_dilation(shine)] = 0.95
    frame = ndimage.gaussian_filter(frame, (0.7, 0.7, 0)) + rng.normal(scale=0.015, size=(*shape, 1))
    frame *= _border(grid, shape)[..., None]
    return (255 * frame.clip(0, 1)).astype(np.uint8), np.where(mask & (_border(grid, shape) > 0), 255, 0).astype(
        np.uint8
    )


def _mucosa(rng: np.random.Generator, shape: tuple[int, int]) -> Map:
    """Height of a wall with folds."""
    noise = [ndimage.gaussian_filter(rng.normal(size=shape), width) for width in (shape[0] / 6, shape[0] / 20, 2.0)]
    folds = sum(weight * layer / layer.std() for weight, layer in zip((0.35, 0.12, 0.03), noise, strict=True))
    return np.asarray(folds)


def _blob(rng: np.random.Generator, grid: Map) -> Map:
    """1 in the middle of a wobbly ellipse, 0 at its border, below outside."""
    centre = np.array([rng.uniform(0.2, 0.6), rng.uniform(0.2, 0.8)])
    y, x = grid[0] - centre[0], grid[1] - centre[1]
    angle, radius = np.arctan2(y, x), np.hypot(y * rng.uniform(0.8, 1.4), x)
    reach = rng.uniform(0.07, 0.18)
    for order in (2, 3, 5):
        reach = reach * (1 + rng.uniform(0, 0.12) * np.cos(order * angle + rng.uniform(0, 2 * np.pi)))
    return np.asarray(1 - (radius / reach) ** 2)


def _vessels(rng: np.random.Generator, shape: tuple[int, int]) -> Map:
    """Thin dark lines: where smooth noise crosses zero."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), shape[0] / 14)
    return np.asarray(np.exp(-((noise / noise.std() / 0.06) ** 2)))


def _border(grid: Map, shape: tuple[int, int]) -> Map:
    """1 inside the view, an octagon, and 0 in the dark outside; the same for every frame of a size."""
    y, x = np.abs(grid[0] - shape[0] / shape[1] / 2), np.abs(grid[1] - 0.5)
    return np.asarray((x + y < 0.72) & (y < 0.38), dtype=float)
