"""Synthetic datasets that need no download and no licence, deterministic from a seed, hard enough to tell methods apart.

A cardiac phantom imitates a short-axis MRI stack: two bright blood pools, a dark myocardium, a bias field, noise, and
look-alikes outside the heart (bright pools, rings) that only context tells from the real thing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medkd.datasets.acdc import CLASSES
from medkd.datasets.datalist import check_datalist, write_datalist
from medkd.files import atomic_folder

__all__ = ["cardiac_phantom", "make_cardiac_phantoms", "scribble"]

Image = NDArray[np.float32]
Label = NDArray[np.uint8]
_SPACING = (1.5, 1.5, 8.0)  # mm


def make_cardiac_phantoms(
    output: str | Path,
    *,
    strong: int = 4,
    weak: int = 12,
    validation: int = 4,
    test: int = 8,
    size: int = 96,
    slices: int = 6,
    seed: int = 0,
) -> dict[str, dict[str, int]]:
    """Write cardiac phantoms as NIfTI files with a datalist, in the classes of ACDC.

    Args:
        output: folder to make; it must not hold anything yet.
        strong: training volumes whose full masks are used; all training volumes have scribbles too.
        weak: training volumes of which scribbles alone are used.
        validation: validation volumes.
        test: test volumes.
        size: pixels in plane, >= 48.
        slices: slices a volume, >= 2.
        seed: everything is drawn from it.

    Returns:
        For each section the number of images, patients and strong images.

    Raises:
        FileExistsError: if the output holds something.
        ValueError: if a number is out of range.
    """
    if size < 48 or slices < 2 or min(strong, validation, test) < 1 or weak < 0:
        raise ValueError("expected size >= 48, slices >= 2, weak >= 0 and at least one volume in every other group")
    sections = ["training"] * (strong + weak) + ["validation"] * validation + ["test"] * test
    datalist: dict[str, Any] = {"name": "cardiac phantoms", "labels": {str(k): v for k, v in CLASSES["all"].items()}}
    with atomic_folder(output) as partial:
        for number, section in enumerate(sections):
            rng = np.random.default_rng([seed, number])
            image, label = cardiac_phantom(rng, size=size, slices=slices)
            patient = f"phantom{number + 1:03d}"
            item = {"image": f"images/{patient}.nii.gz", "label": f"labels/{patient}.nii.gz", "patient": patient}
            _save(partial / item["image"], image)
            _save(partial / item["label"], label)
            if section == "training":
                item |= {
                    "weak_label": f"weak_labels/{patient}.nii.gz",
                    "supervision": "strong" if number < strong else "weak",
                }
                _save(partial / item["weak_label"], scribble(label, rng))
            datalist.setdefault(section, []).append(item)
        write_datalist(partial / "datalist.json", datalist)
        return check_datalist(partial)


def cardiac_phantom(rng: np.random.Generator, *, size: int = 96, slices: int = 6) -> tuple[Image, Label]:
    """One volume: intensities ``[size, size, slices]`` of about 0 to 1, and its label (0 to 3, as in ACDC)."""
    label = np.zeros((size, size, slices), dtype=np.uint8)
    image = np.empty(label.shape, dtype=np.float32)
    heart = _Heart(rng, size)
    decoys = _Decoys(rng, size, heart.centre)
    blood, muscle = rng.uniform(0.70, 0.90), rng.uniform(0.28, 0.42)
    tissue = ndimage.gaussian_filter(rng.normal(size=label.shape), (4, 4, 1))
    for depth in range(slices):
        label[..., depth] = heart.section(1 - 0.55 * depth / (slices - 1))
        body = 0.45 + 0.12 * tissue[..., depth] / tissue.std()
        decoys.paint(body, blood, muscle)
        image[..., depth] = np.select([label[..., depth] == 2, label[..., depth] > 0], [muscle, blood], body)
    image = ndimage.gaussian_filter(image, (0.8, 0.8, 0))
    bias = ndimage.gaussian_filter(rng.normal(size=label.shape), (size / 5, size / 5, slices))
    image *= np.exp(0.35 * bias / max(float(np.abs(bias).max()), 1e-6))
    return (image + rng.normal(scale=rng.uniform(0.05, 0.09), size=image.shape)).astype(np.float32), label


class _Heart:
    """The left ventricle as a ring, the right one as a crescent beside it."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.grid = np.mgrid[:size, :size].astype(float)
        self.centre = np.array([size / 2, size / 2]) + rng.uniform(-0.12, 0.12, 2) * size
        self.radius = size * rng.uniform(0.10, 0.14)
        self.wall = size * rng.uniform(0.035, 0.06)
        self.stretch, self.angle = rng.uniform(0.85, 1.15), rng.uniform(0, np.pi)
        self.side = rng.uniform(np.pi * 0.75, np.pi * 1.25)
        self.right = rng.uniform(0.95, 1.25)

    def section(self, scale: float) -> Label:
        """The label of a slice in which the heart has ``scale`` times its size at the base."""
        inner = _distance(self.grid, self.centre, self.stretch, self.angle)
        shift = np.array([np.cos(self.side), np.sin(self.side)]) * (self.radius + self.wall) * scale
        outer = _distance(self.grid, self.centre + shift, 1 / self.stretch, self.angle)
        label = np.zeros(inner.shape, dtype=np.uint8)
        label[outer < self.right * self.radius * scale * 1.25] = 1
        label[inner < (self.radius + self.wall) * scale] = 2
        label[inner < self.radius * scale * 0.95] = 3
        return label


class _Decoys:
    """Structures that look like the heart's, away from it: vessels (bright discs) and a dark-walled ring."""

    def __init__(self, rng: np.random.Generator, size: int, heart: NDArray[np.float64]) -> None:
        self.grid = np.mgrid[:size, :size].astype(float)
        self.discs = []
        for turn in np.linspace(0, 2 * np.pi, 5, endpoint=False) + rng.uniform(0, 2 * np.pi):
            away = size * rng.uniform(0.33, 0.42)
            centre = heart + away * np.array([np.cos(turn), np.sin(turn)])
            self.discs.append((centre, size * rng.uniform(0.05, 0.10), rng.random() < 0.4))

    def paint(self, body: NDArray[np.float64], blood: float, muscle: float) -> None:
        """Draw them into a slice."""
        for centre, radius, ringed in self.discs:
            distance = _distance(self.grid, centre, 1.0, 0.0)
            if ringed:
                body[distance < radius * 1.4] = muscle
            body[distance < radius] = blood


def scribble(label: Label, rng: np.random.Generator, *, ignore_index: int = 255) -> Label:
    """Scribbles as an annotator draws them: a thin stroke inside every class of every slice, background included.

    Args:
        label: ``[H, W, slices]``, classes from 0.
        rng: source of randomness.
        ignore_index: value of the pixels without a stroke.

    Returns:
        uint8 of the shape of ``label``.
    """
    weak = np.full(label.shape, ignore_index, dtype=np.uint8)
    for depth in range(label.shape[-1]):
        section = label[..., depth]
        for value in np.unique(section):
            weak[..., depth][_stroke(section == value, rng)] = value
    return weak


def _stroke(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A short curve along the middle of a mask, one or two pixels wide."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    middle = mask & (depth >= min(0.6 * depth.max(), max(2.0, 0.2 * depth.max())))
    ridge = middle & (depth >= ndimage.maximum_filter(depth, size=3) - 0.5)
    points = np.argwhere(ridge)
    start = points[rng.integers(len(points))]
    reach = max(3.0, 0.25 * np.sqrt(mask.sum()))
    near: NDArray[np.bool_] = ridge & (np.linalg.norm(np.indices(mask.shape) - start[:, None, None], axis=0) < reach)
    return near


def _distance(
    grid: NDArray[np.float64], centre: NDArray[np.float64], stretch: float, angle: float
) -> NDArray[np.float64]:
    """Distance from a centre in a rotated plane whose first axis is stretched."""
    y, x = grid[0] - centre[0], grid[1] - centre[1]
    across, along = np.cos(angle) * y + np.sin(angle) * x, np.cos(angle) * x - np.sin(angle) * y
    distance: NDArray[np.float64] = np.hypot(across * stretch, along / stretch)
    return distance


def _save(path: Path, volume: NDArray[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    image = nib.nifti1.Nifti1Image(volume, np.diag([*_SPACING, 1.0]))
    image.header.set_xyzt_units("mm")
    nib.nifti1.save(image, path)
