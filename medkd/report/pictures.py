"""Pictures of single cases: the image, who says what, where they differ, and how sure the student is."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from medkd.report.cases import beside, over_classes
from medkd.report.drawing import image_uri
from medkd.report.material import Limits, Material

__all__ = ["Case", "failures", "pictured_seed", "worst_cases"]

Array = NDArray[Any]
_CLASSES = ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#0072b2", "#cc79a7")  # Okabe and Ito; no organ is blue
_MISSED, _FALSE = "#e69f00", "#56b4e9"


@dataclass(frozen=True)
class Case:
    """A case in pictures.

    Attributes:
        title: its name and patient.
        text: its scores.
        panels: title, picture and description of each; none where no slice was kept.
    """

    title: str
    text: str
    panels: list[tuple[str, str, str]]


def pictured_seed(material: Material) -> int:
    """The first seed of which the student's slices were kept, or its first."""
    for seed in material.seeds:
        cell = material.cell(material.student, seed)
        if cell is not None and (cell.folder / "eval" / "slices").is_dir():
            return seed
    return material.seeds[0]


def worst_cases(material: Material, count: int = 5) -> list[Case]:
    """The cases with the student's lowest Dice over classes and seeds, the worst first."""
    table = beside(material, over_classes(material.cases)).sort_values("student").head(count)
    return [_case(material, row) for row in table.to_dict("records")]


def failures(material: Material, limits: Limits) -> pd.DataFrame:
    """The cases that the student alone fails on: below the limit where the teacher, or else the student alone, is not."""
    table: pd.DataFrame = beside(material, over_classes(material.cases))
    other = next((part for part in ("teacher", "alone") if part in table), None)
    if other is None:
        none: pd.DataFrame = table.iloc[:0]
        return none
    failed = table[(table["student"] < limits.least_dice) & (table[other] >= limits.least_dice)]
    ordered: pd.DataFrame = failed.assign(behind=failed[other] - failed["student"]).sort_values(
        "behind", ascending=False
    )
    return ordered


def _case(material: Material, row: dict[Any, Any]) -> Case:
    scores = [
        f"{network} {row[part]:.2f}" for part, network in material.shown.items() if part in row and pd.notna(row[part])
    ]
    name = str(row["case"]) if row["case"] == row["patient"] else f"{row['case']} ({row['patient']})"
    return Case(name, f"Dice: {', '.join(scores)}", _panels(material, int(row["number"])))


def _panels(material: Material, number: int) -> list[tuple[str, str, str]]:
    seed = pictured_seed(material)
    maps = {
        part: found for part, network in material.shown.items() if (found := _maps(material, network, seed, number))
    }
    if "student" not in maps:
        return []
    student = maps["student"]
    image, truth = _opened(student["image"]), student["truth"]
    panels = [("image", image, "the image"), ("truth", _painted(image, truth), "the truth over it")]
    panels += [
        (part, _painted(image, maps[part]["classes"]), f"what the {part} says")
        for part in ("teacher", "student")
        if part in maps and maps[part]["classes"].shape == truth.shape
    ]
    if "teacher" in maps and maps["teacher"]["classes"].shape == truth.shape:
        differ = (maps["teacher"]["classes"] != student["classes"]).astype(np.uint8)
        panels.append(("disagreement", _painted(_grey(image), 4 * differ), "where student and teacher disagree"))
    panels.append(
        (
            "errors",
            _errors(image, truth, student["classes"]),
            "where the student misses the truth, orange, and where it adds to it, blue",
        )
    )
    panels.append(("uncertainty", _heat(student["uncertainty"]), "the student's entropy: black is sure, white is not"))
    return [(title, _png(picture) if title == "uncertainty" else _jpeg(picture), alt) for title, picture, alt in panels]


def _maps(material: Material, network: str, seed: int, number: int) -> dict[str, Array]:
    cell = material.cell(network, seed)
    path = (cell.folder if cell else Path()) / "eval" / "slices" / f"{number:04d}.npz"
    if cell is None or not path.is_file():
        return {}
    with np.load(path) as kept:
        maps = {name.removeprefix(f"{cell.branch}_"): kept[name] for name in kept.files}
    return maps if "classes" in maps else {}


def _opened(jpeg: Array) -> Array:
    return np.asarray(Image.open(io.BytesIO(jpeg.tobytes())).convert("RGB"))


def _painted(image: Array, classes: Array) -> Array:
    picture = image.astype(np.float32)
    for number in range(1, int(classes.max(initial=0)) + 1):
        mask = classes == number
        _blend(picture, mask, _CLASSES[(number - 1) % len(_CLASSES)], 0.4)
        _blend(picture, mask & ~ndimage.binary_erosion(mask), _CLASSES[(number - 1) % len(_CLASSES)], 1.0)
    return picture.astype(np.uint8)


def _grey(image: Array) -> Array:
    return np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)


def _errors(image: Array, truth: Array, student: Array) -> Array:
    """Over a grey image; of classes that are mistaken for one another both."""
    picture = _grey(image).astype(np.float32)
    _blend(picture, (student != truth) & (truth > 0), _MISSED, 0.75)
    _blend(picture, (student != truth) & (truth == 0), _FALSE, 0.75)
    return picture.astype(np.uint8)


def _blend(picture: Array, where: Array, colour: str, share: float = 0.5) -> None:
    rgb = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)], dtype=np.float32)
    picture[where] = (1 - share) * picture[where] + share * rgb


def _heat(uncertainty: Array) -> Array:
    from matplotlib import colormaps

    heat: Array = (255 * colormaps["inferno"](uncertainty)[..., :3]).astype(
        np.uint8
    )  # its lightness alone tells the order
    return heat


def _jpeg(picture: Array) -> str:
    written = io.BytesIO()
    Image.fromarray(picture).save(written, "JPEG", quality=82)
    return image_uri(written.getvalue(), "jpeg")


def _png(picture: Array) -> str:
    written = io.BytesIO()
    Image.fromarray(picture).quantize(64).save(written, "PNG", optimize=True)
    return image_uri(written.getvalue(), "png")
