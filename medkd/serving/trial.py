"""A synthetic image through a bundle in the way a MONAI Label server sends one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from PIL import Image
from torch import Tensor, nn

from medkd.bundle import infer

__all__ = ["trial_problems"]

_PICTURE, _VOLUME = (90, 70), (40, 36, 5)  # no two sides alike, so that a swapped axis shows


def trial_problems(
    inference: ConfigParser, network: nn.Module, labels: Mapping[str, int], *, picture: bool
) -> Iterator[str]:
    """What the server could not do with the bundle's output, or with an image at all.

    Args:
        inference: the configuration.
        network: the student, in eval mode on the CPU.
        labels: values that the output may have beside 0.
        picture: whether it takes pictures, or volumes.

    Yields:
        The key, what was expected, what was found and the remedy.
    """
    if picture:
        yield from _displayable_problems(inference)
    with tempfile.TemporaryDirectory() as folder:
        path = _example(Path(folder), picture)
        try:
            found, _ = infer(inference, network, path)
        except Exception as error:  # noqa: BLE001 - transforms can raise anything
            yield f"inference: expected a mask of a synthetic {'picture' if picture else 'volume'}, found {error.__cause__ or error!r}"
            return
    yield from _mask_problems(found, _PICTURE if picture else _VOLUME, labels, picture)


def _displayable_problems(inference: ConfigParser) -> Iterator[str]:
    """Without these the server writes a picture's mask in the image's own format (lossy) and in 32 bits (refused)."""
    found = inference.get("displayable_configs") or {}
    if not isinstance(found, dict):
        yield f"displayable_configs: expected a mapping, into which the server writes, found {found!r}"
        return
    settings = inference.get_parsed_content("displayable_configs") if found else found
    for key, value in {"result_extension": ".png", "result_dtype": "uint8"}.items():
        if settings.get(key) != value:
            yield f"displayable_configs#{key}: expected {value}, found {settings.get(key)}; the server writes masks by it"


def _mask_problems(found: Tensor, shape: tuple[int, ...], labels: Mapping[str, int], picture: bool) -> Iterator[str]:
    if tuple(found.shape) != shape:
        yield (
            f"postprocessing: expected a mask in the image's shape {shape}, found {tuple(found.shape)}; end it in Invertd, "
            f"AsDiscreted{' and SqueezeDimd of axis 0' if picture else ''}"
        )
    if picture and found.dtype != torch.uint8:
        yield f"postprocessing: expected uint8, which PNG can hold, found {found.dtype}; end it in CastToTyped"
    strange = sorted(set(np.unique(found.numpy()).tolist()) - {0, *labels.values()})
    if strange:
        known = sorted({0, *labels.values()})
        yield (
            f"postprocessing: expected the values {known} of channel_def, found {', '.join(f'{v:g}' for v in strange[:5])}; "
            "discretise the output, or name the labels in metadata.json"
        )


def _example(folder: Path, picture: bool) -> Path:
    """Noise, with contrast."""
    rng = np.random.default_rng(0)
    if picture:
        pixels = rng.integers(0, 255, (*_PICTURE[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "image.png")
        return folder / "image.png"
    nib.save(nib.Nifti1Image(rng.normal(size=_VOLUME).astype(np.float32), np.eye(4)), folder / "image.nii.gz")
    return folder / "image.nii.gz"
