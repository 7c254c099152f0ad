"""Synthetic H&E tiles: stroma with fibres and nuclei, in positive ones a tumour of larger, darker, crowded nuclei."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from medkd.datasets.datalist import summary, write_datalist
from medkd.files import atomic_folder

__all__ = ["histology_phantom", "make_histology_phantoms"]

Map = NDArray[np.float64]
# Colours of haematoxylin and eosin as optical density per channel (Ruifrok and Johnston, 2001).
_HAEMATOXYLIN, _EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])


def make_histology_phantoms(
    output: str | Path, *, training: int = 240, validation: int = 60, test: int = 80, size: int = 96, seed: int = 0
) -> dict[str, dict[str, int]]:
    """Write tiles and masks as PNG with a datalist; every other tile is positive.

    Args:
        output: folder to make; it must not hold anything yet.
        training: training tiles.
        validation: validation tiles.
        test: test tiles.
        size: side of a tile in pixels, >= 64.
        seed: everything is drawn from it.

    Returns:
        For each section the number of images, patients and positive images.

    Raises:
        FileExistsError: if the output holds something.
        ValueError: if a number is out of range.
    """
    if size < 64 or min(training, validation, test) < 2:
        raise ValueError("expected size >= 64 and at least two tiles in every group")
    sections = ["training"] * training + ["validation"] * validation + ["test"] * test
    datalist: dict[str, Any] = {"name": "histology phantoms", "labels": {"0": "background", "1": "tumour"}}
    with atomic_folder(output) as partial:
        for folder in ("images", "masks"):
            (partial / folder).mkdir()
        for number, section in enumerate(sections):
            label = number % 2
            tile, mask = histology_phantom(np.random.default_rng([seed, number]), size=size, positive=bool(label))
            name = f"phantom{number + 1:04d}"
            item = {"image": f"images/{name}.png", "label": label, "mask": f"masks/{name}.png", "patient": name}
            Image.fromarray(tile).save(partial / f"images/{name}.png")
            Image.fromarray(mask).save(partial / f"masks/{name}.png")
            datalist.setdefault(section, []).append(item)
        write_datalist(partial / "datalist.json", datalist)
    return {section: summary(datalist[section]) for section in ("training", "validation", "test")}


def histology_phantom(
    rng: np.random.Generator, *, size: int = 96, positive: bool = True
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One tile ``[H, W, 3]`` and its mask ``[H, W]`` (0 or 255; empty if the tile is negative)."""
    mask = _region(rng, size, share=rng.uniform(0.12, 0.35)) if positive else np.zeros((size, size), dtype=bool)
    # Lymphocytes crowd as tumour cells do, but are small: crowding alone does not tell a tumour.
    follicle = _region(rng, size, share=rng.uniform(0.03, 0.12)) & ~mask
    nuclei = _nuclei(rng, ~mask & ~follicle, density=0.004, radius=1.4)
    nuclei = np.maximum(nuclei, 1.1 * _nuclei(rng, follicle, density=0.05, radius=1.3))
    nuclei = np.maximum(nuclei, 1.1 * _nuclei(rng, mask, density=0.018, radius=2.6))
    eosin = 0.30 + 0.18 * _fibres(rng, size) - 0.12 * ndimage.gaussian_filter(mask.astype(float), 2)
    stain = rng.uniform(0.85, 1.15, 2)
    density = stain[0] * 0.9 * nuclei[..., None] * _HAEMATOXYLIN + stain[1] * eosin[..., None] * _EOSIN
    density += rng.normal(scale=0.02, size=density.shape)
    tile = 255 * np.exp(-density.clip(0, None))
    return tile.clip(0, 255).astype(np.uint8), np.where(mask, 255, 0).astype(np.uint8)


def _region(rng: np.random.Generator, size: int, share: float) -> NDArray[np.bool_]:
    """One smooth patch of about this share of the tile."""
    noise = ndimage.gaussian_filter(rng.normal(size=(size, size)), size / 8, mode="reflect")
    centre = rng.uniform(0.25, 0.75, 2) * size
    distance = np.hypot(*(np.indices((size, size)) - centre[:, None, None])) / size
    height = noise / noise.std() - 6 * distance
    inside, _ = ndimage.label(height > np.quantile(height, 1 - share))
    return np.asarray(inside == np.bincount(inside.ravel())[1:].argmax() + 1)


def _nuclei(rng: np.random.Generator, where: NDArray[np.bool_], *, density: float, radius: float) -> Map:
    """Blurred discs, about ``density`` of them per pixel of ``where``; 1 in their middle."""
    points = np.where(where & (rng.random(where.shape) < density), 1.0, 0.0)
    spread = ndimage.gaussian_filter(points, radius) * 2 * np.pi * radius**2
    return np.asarray(spread.clip(0, 1))


def _fibres(rng: np.random.Generator, size: int) -> Map:
    """Wavy bands of stroma, -1 to 1."""
    bend = ndimage.gaussian_filter(rng.normal(size=(size, size)), size / 6)
    rows, columns = np.indices((size, size)) / size
    angle = rng.uniform(0, np.pi)
    phase = rows * np.cos(angle) + columns * np.sin(angle) + 0.15 * bend / bend.std()
    return np.asarray(np.sin(2 * np.pi * rng.uniform(4, 8) * phase))
