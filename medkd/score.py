"""The field's polyp measures of a folder of predictions, whoever made them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medkd.datasets.studies import images_by_stem
from medkd.errors import DataError
from medkd.metrics.polyp import PolypMeasures
from medkd.reading.frames import read_frame, to_mask, to_rgb

__all__ = ["score_folders"]

_logger = logging.getLogger(__name__)
Convert = Callable[[Image.Image], Image.Image]


def score_folders(predictions: str | Path, masks: str | Path, *, progress: bool = False) -> dict[str, float]:
    """Score a folder of predictions; every mask must have one.

    Args:
        predictions: folder of grey maps of 8 bit, brighter for likelier, or of masks (0 and 1, or 0 and 255), each named
            as its mask or with ``_map`` or ``_seg`` behind, as ``inference.yaml`` does; a map of another size is resized.
            The field scores maps: that a folder holds masks is logged as a warning.
        masks: folder of masks, each of 0 and 255 or of 0 and 1.
        progress: show a progress bar.

    Returns:
        The scores of ``PolypMeasures.results``.

    Raises:
        DataError: with every mask that has no prediction, and the reverse, and every file that cannot be read.
    """
    from tqdm import tqdm

    problems: list[str] = []
    found, truth = (images_by_stem(Path(folder), problems) for folder in (predictions, masks))
    names = {stem: stem if stem in truth else stem.removesuffix("_seg").removesuffix("_map") for stem in found}
    for stem, first in names.items():
        others = [other for other in names if other > stem and names[other] == first]
        problems += [f"{found[stem]}: expected one prediction of it, found {other} too" for other in others]
    found = {names[stem]: path for stem, path in found.items()}
    problems += [f"{truth[s]}: expected a prediction {s}.* in {predictions}, found none" for s in truth.keys() - found]
    problems += [f"{found[s]}: expected a mask {s}.* in {masks}, found none" for s in found.keys() - truth]
    for folder, files in ((predictions, found), (masks, truth)):
        if not files:
            problems.append(f"{folder}: expected image files, found none")
    values = [_values(path, _gray, problems) for path in found.values()]
    for path in truth.values():
        _values(path, to_mask, problems)
    if problems:
        raise DataError(Path(predictions), sorted(problems))
    # Masks of 0 and 1 in the whole folder; a single dark map among maps is a map.
    factor = np.uint8(255 if max(map(max, values)) <= 1 else 1)
    if set.union(*values) <= {0, max(map(max, values))}:
        _logger.warning(
            "%s holds masks; the field scores maps, which `--maps true` of inference.yaml writes", predictions
        )
    measures = PolypMeasures()
    for stem in tqdm(sorted(truth), desc="scoring", disable=not progress):
        mask = np.asarray(read_frame(truth[stem], to_mask)) * np.uint8(255)
        measures.step(_resized(np.asarray(read_frame(found[stem], _gray)) * factor, mask.shape), mask)
    return measures.results()


def _gray(image: Image.Image) -> Image.Image:
    return to_rgb(image).convert("L")


def _values(path: Path, convert: Convert, problems: list[str]) -> set[int]:
    """The values of an image's pixels."""
    try:
        return set(np.unique(np.asarray(read_frame(path, convert))).tolist())
    except Exception as error:  # noqa: BLE001 - whatever the decoder raises, the file cannot be read
        problems.append(f"{path}: cannot be read ({error})")
        return {0}


def _resized(values: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    height, width = shape
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR))
