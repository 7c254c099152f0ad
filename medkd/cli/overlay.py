"""``medkd overlay``: draw masks over an image."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HELP = "draw masks over an image"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """An image, its masks, and the picture to write."""
    parser.add_argument("image", help="NIfTI file, or a JPEG, PNG or TIFF frame")
    parser.add_argument("masks", nargs="+", help="files of the same grid")
    parser.add_argument("--output", required=True, help="PNG to write")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from medkd.visualise import read_image, read_mask, save_overlay

    image, shown = read_image(options.image), _names(options.masks)
    masks = {shown[path]: read_mask(path) for path in options.masks}
    for path in options.masks:
        mask = masks[shown[path]]
        if mask.shape != (image.shape[:2] if _is_colour(image, mask) else image.shape):
            raise ValueError(f"{path}: expected a mask of the image's shape {image.shape}, found {mask.shape}")
        _check_geometry(path, options.image)
    save_overlay(options.output, {_name(options.image): (image, masks)})
    print(f"Overlay: {options.output}")


def _names(paths: Sequence[str]) -> dict[str, str]:
    """What the masks are called: their short names, or whole paths where these are the same."""
    short = [_name(path) for path in paths]
    return {path: path if short.count(name) > 1 else name for path, name in zip(paths, short, strict=True)}


def _name(path: str) -> str:
    return Path(path).name.split(".")[0]


def _check_geometry(mask: str, image: str) -> None:
    """Of two volumes: voxels of the same numbers lie at the same place of the patient."""
    import numpy as np

    from medkd.reading.images import is_frame, load_image

    if is_frame(mask) or is_frame(image):
        return
    found, expected = (np.round(np.asarray(getattr(load_image(path), "affine")), 3) for path in (mask, image))  # noqa: B009
    if not np.allclose(found, expected, atol=1e-2):
        raise ValueError(
            f"{mask}: expected the geometry (affine) of {image}, {expected.tolist()}, found {found.tolist()}"
        )


def _is_colour(image: Any, mask: Any) -> bool:
    return bool(image.ndim == 3 and image.shape[-1] == 3 and mask.ndim == 2)
