"""Weak labels made from full masks, to study how little annotation is enough (ConfKD, arXiv 2109.10902, section 4).

Each function takes the mask of one class and gives the pixels an annotator would have marked, always inside the mask.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["GENERATORS", "seed_label"]

Mask = NDArray[np.bool_]


def erosion(mask: Mask, rng: np.random.Generator, fraction: float) -> Mask:
    """The mask's core: eroded until at most ``fraction`` of its pixels is left, never to nothing."""
    core = mask
    while core.sum() > fraction * mask.sum():
        smaller = ndimage.binary_erosion(core)
        if not smaller.any():
            break
        core = smaller
    return core


def random_pixels(mask: Mask, rng: np.random.Generator, fraction: float) -> Mask:
    """``fraction`` of the mask's pixels, drawn without replacement; one at least."""
    inside = np.flatnonzero(mask)
    chosen = rng.choice(inside, size=max(1, round(fraction * inside.size)), replace=False)
    seeds = np.zeros(mask.size, dtype=bool)
    seeds[chosen] = True
    return seeds.reshape(mask.shape)


def centroid_ellipse(mask: Mask, rng: np.random.Generator, fraction: float) -> Mask:
    """The mask's ellipse of inertia, scaled to about ``fraction`` of its area, clipped to the mask.

    For a ring, whose centroid lies outside, the ellipse is moved to the mask's deepest pixel.
    """
    points = np.argwhere(mask)
    centre = points.mean(0)
    if not mask[tuple(np.round(centre).astype(int))]:
        depth = ndimage.distance_transform_edt(mask)
        centre = np.array(np.unravel_index(int(depth.argmax()), mask.shape))
    covariance = np.atleast_2d(np.cov(points.T)) if len(points) > 2 else np.eye(mask.ndim)
    offset = points - centre
    distance = np.einsum("ni,ij,nj->n", offset, np.linalg.inv(covariance + 1e-3 * np.eye(mask.ndim)), offset)
    # A uniform ellipse reaches to squared distance 4 in units of its own covariance; areas go with that square.
    nearest = distance <= max(4.0 * fraction, float(distance.min()))
    seeds = np.zeros_like(mask)
    seeds[tuple(points[nearest].T)] = True
    return seeds


GENERATORS: dict[str, Callable[[Mask, np.random.Generator, float], Mask]] = {
    "erosion": erosion,
    "random": random_pixels,
    "ellipse": centroid_ellipse,
}


def seed_label(
    label: NDArray[np.integer],
    *,
    method: str,
    rng: np.random.Generator,
    fraction: float = 0.03,
    ignore_index: int = 255,
) -> NDArray[np.uint8]:
    """A weak label in which a few foreground pixels of every class and slice are annotated, and no background.

    Args:
        label: full label ``[H, W, slices]`` with 0 = background; each slice is treated by itself.
        method: ``"erosion"``, ``"random"`` or ``"ellipse"``.
        rng: source of randomness.
        fraction: share of each structure's pixels to annotate, in (0, 1].
        ignore_index: value of every pixel that is not annotated.

    Returns:
        uint8 of the shape of ``label``: classes at the seeds, ``ignore_index`` elsewhere.

    Raises:
        ValueError: for an unknown method, a fraction outside (0, 1] or an ignore value outside [0, 255].
    """
    if method not in GENERATORS:
        raise ValueError(f"method must be one of {sorted(GENERATORS)}, got {method!r}")
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1], got {fraction}")
    if not 0 <= ignore_index <= 255:
        raise ValueError(f"ignore_index must lie in [0, 255], got {ignore_index}")
    weak = np.full(label.shape, ignore_index, dtype=np.uint8)
    for depth in range(label.shape[-1]):
        section = label[..., depth]
        for value in np.unique(section[(section > 0) & (section != ignore_index)]):
            weak[..., depth][GENERATORS[method](section == value, rng, fraction)] = value
    return weak
