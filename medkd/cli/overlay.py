"""``medkd overlay``: draw masks over an image."""

from __future__ import annotations

import argparse
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

    image, masks = read_image(options.image), {_name(path): read_mask(path) for path in options.masks}
    for name, mask in masks.items():
        if mask.shape != (image.shape[:2] if _is_colour(image, mask) else image.shape):
            raise ValueError(f"{name}: expected a mask of the image's shape {image.shape}, found {mask.shape}")
    save_overlay(options.output, {_name(options.image): (image, masks)})
    print(f"Overlay: {options.output}")


def _name(path: str) -> str:
    return Path(path).name.split(".")[0]


def _is_colour(image: Any, mask: Any) -> bool:
    return bool(image.ndim == 3 and image.shape[-1] == 3 and mask.ndim == 2)
