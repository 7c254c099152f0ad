"""Datalists: ``{"training": […], "validation": […], "test": […]}`` of ``{"image", "label", …}``, paths relative to it.

A ``label`` is the path of a mask, or 0 or 1: whether the image holds the structure. Then ``mask`` may be the path of
its mask, for scoring, and ``location`` and ``size`` the region that is meant. An item may also have ``weak_label`` (a
sparse label of the same image), ``supervision`` (``"strong"``, ``"weak"`` or ``"none"``) and ``patient`` (an identifier
that must not occur in two sections). The optional ``"labels"`` of the datalist maps class numbers to names.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medkd.datasets.tile_checks import tile_problems
from medkd.errors import DataError
from medkd.files import atomic_path

__all__ = ["SECTIONS", "check_datalist", "load_datalist", "write_datalist"]

SECTIONS = ("training", "validation", "test")
_PATHS = ("image", "label", "weak_label", "mask")
Item = dict[str, Any]


def load_datalist(
    dataset_dir: str | Path,
    section: str | None = None,
    *,
    name: str = "datalist.json",
    class_names: Sequence[str] | None = None,
) -> Any:
    """Read a datalist with its paths made absolute.

    Args:
        dataset_dir: the folder of the datalist, or the datalist itself.
        section: ``"training"``, ``"validation"`` or ``"test"`` for the items of one section; ``None`` for all of it.
        name: the file's name in ``dataset_dir``.
        class_names: names of the classes from 1 on that the datalist's ``"labels"``, if it has them, must have.

    Returns:
        A list of items, or the whole mapping if ``section`` is ``None``.

    Raises:
        FileNotFoundError: if there is no datalist, with the command that makes one.
        DataError: if the section is absent (but for validation, without which one can train), a file is missing, a patient or an image is in two sections, or the
            classes are others.
    """
    path = Path(dataset_dir)
    path = path / name if path.suffix != ".json" else path
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no datalist there; --dataset_dir expects the output of `medkd data …`, "
            "for example of `medkd data phantoms cardiac OUTPUT`"
        )
    content = _parsed(path)
    datalist = {key: content[key] for key in content if key not in SECTIONS}
    datalist |= {key: [_absolute(item, path.parent) for item in content.get(key, [])] for key in SECTIONS}
    problems = [*_missing_files(datalist), *_shared(datalist, "patient"), *_shared(datalist, "image")]
    problems += _other_classes(datalist, class_names)
    if section not in {None, "validation"} and not datalist.get(section):
        problems.append(f'"{section}": expected items in this section, found none')
    if problems:
        raise DataError(path, problems)
    for key in SECTIONS:
        _tell_apart(datalist[key])
    return datalist if section is None else datalist[section]


def _tell_apart(items: list[Item]) -> None:
    """Images of one file name in several folders, which nobody says whose they are, are not one patient's: scores go by names."""
    nobodys = [item for item in items if "patient" not in item and "region" not in item]
    for name, count in Counter(Path(image).name for image in {item["image"] for item in nobodys}).items():
        same = [item for item in nobodys if Path(item["image"]).name == name] if count > 1 else []
        shared = os.path.commonpath([Path(item["image"]).parent for item in same]) if same else ""
        for item in same:
            item["patient"] = Path(item["image"]).relative_to(shared).as_posix()


def _parsed(path: Path) -> dict[str, Any]:
    """The file's content, after a check of its form: items with an image, and a label where they call it strong."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(path, [f"expected JSON, found something else ({error})"]) from error
    if not isinstance(content, dict):
        raise DataError(path, [f"expected sections {', '.join(SECTIONS)}, found a {type(content).__name__}"])
    problems = [
        f'"{section}": expected a list of items, found {content[section]!r}'
        for section in SECTIONS
        if not isinstance(content.get(section, []), list)
    ]
    labels = content.get("labels", {})
    if not isinstance(labels, dict) or not all(str(key).isdigit() for key in labels):
        problems.append(f'"labels": expected names by class number ({{"0": "background", …}}), found {labels!r}')
    if not problems:
        items = [(f"{section}[{n}]", item) for section in SECTIONS for n, item in enumerate(content.get(section, []))]
        problems = [problem for name, item in items if (problem := _form_problem(name, item))]
    if problems:
        raise DataError(path, problems)
    return content


def _form_problem(name: str, item: Any) -> str | None:
    """What is wrong with an item before its files are looked at, or ``None``."""
    if not isinstance(item, dict) or "image" not in item:
        return f'{name}: expected a mapping with "image", found {item!r}'
    for key in _PATHS:
        image_level = key == "label" and item.get(key) in (0, 1)
        if key in item and not isinstance(item[key], str) and not image_level:
            return f'{name}: expected a path as "{key}", found {item[key]!r}'
    told = item.get("supervision")
    if told not in {None, "strong", "weak", "none"}:
        return f'{name}: expected the supervision "strong", "weak" or "none", found {told!r}'
    if "label" not in item and (told == "strong" or not name.startswith("training")):
        return f'{name}: expected a "label" of {item["image"]}, found none'
    return None


def write_datalist(path: str | Path, datalist: Mapping[str, Any]) -> None:
    """Write a datalist atomically."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(datalist, indent=2) + "\n", encoding="utf-8")


def check_datalist(
    dataset_dir: str | Path, *, unannotated_values: Sequence[int] = (255,), progress: bool = False
) -> dict[str, dict[str, int]]:
    """Read every file of a datalist and refuse it with all problems at once.

    Args:
        dataset_dir: the folder of the datalist, or the datalist itself.
        unannotated_values: label values that mean "not annotated".
        progress: show a progress bar.

    Returns:
        For each section the number of ``images``, ``patients`` and ``strong`` images.

    Raises:
        FileNotFoundError: if there is no datalist.
        DataError: with every problem of every file.
    """
    from tqdm import tqdm

    datalist = load_datalist(dataset_dir)
    classes = _classes(datalist)
    items = [item for section in SECTIONS for item in datalist[section]]
    if _image_level(items):
        problems = [p for item in tqdm(items, desc="checking", disable=not progress) for p in tile_problems(item)]
        if problems:
            raise DataError(dataset_dir, problems)
        return {section: summary(datalist[section]) for section in SECTIONS}
    problems = [
        problem
        for item in tqdm(items, desc="checking", disable=not progress)
        for problem in _item_problems(item, classes, unannotated_values)
    ]
    problems += [
        f'{item["label"]}: expected a full label in "{section}", found pixels that are not annotated'
        for section in ("validation", "test")
        for item in datalist[section]
        if item.get("dense") is False
    ]
    if not any(item.get("supervision", "strong") == "strong" for item in datalist["training"]):
        problems.append('"training": expected at least one strong (fully annotated) image, found none')
    if problems:
        raise DataError(dataset_dir, problems)
    return {section: summary(datalist[section]) for section in SECTIONS}


def summary(items: Sequence[Item]) -> dict[str, int]:
    """How many images, patients and strong (or, with image-level labels, positive) images there are."""
    patients = {str(item.get("patient", item["image"])) for item in items}
    if _image_level(items):
        return {"images": len(items), "patients": len(patients), "positive": sum(i.get("label") == 1 for i in items)}
    strong = sum(item.get("supervision", "strong") == "strong" for item in items)
    return {"images": len(items), "patients": len(patients), "strong": strong}


def _item_problems(item: Item, classes: Sequence[int], ignore: Sequence[int]) -> Iterable[str]:
    """Problems of one item's files, each named; an item that does not say so is marked strong or weak by its label."""
    from medkd.reading.images import is_frame, load_image, load_label
    from medkd.transforms.checks import file_problem, image_problems, label_problems

    loaded: dict[str, Any] = {}
    for key in _PATHS:
        if key not in item:
            continue
        problem = file_problem(item[key])
        try:
            load = load_image if key == "image" else load_label
            loaded[key] = None if problem else load(item[key])
        except ValueError as error:
            problem = str(error)
        if problem:
            yield problem
    image = loaded.get("image")
    if image is None:
        return
    frame = is_frame(item["image"])
    yield from image_problems(image, spatial_dims=2 if frame else 3, channels=3 if frame else 1)
    for key in ("label", "weak_label"):
        if loaded.get(key) is not None:
            yield from label_problems(loaded[key], image, classes, ignore)
    label = loaded.get("label")
    if label is not None:
        item["dense"] = not any(bool((label == value).any()) for value in ignore)
    item.setdefault("supervision", "strong" if item.get("dense") else "weak")


def _classes(datalist: Mapping[str, Any]) -> list[int]:
    """Allowed label values: those the datalist names, else 0 and 1."""
    return sorted(int(value) for value in datalist.get("labels", {"0": "background", "1": "foreground"}))


def _image_level(items: Sequence[Item]) -> bool:
    return any(not isinstance(item.get("label", ""), str) for item in items)


def _absolute(item: Item, folder: Path) -> Item:
    return {**item, **{key: str((folder / item[key]).resolve()) for key in _paths_of(item)}}


def _paths_of(item: Item) -> list[str]:
    return [key for key in _PATHS if isinstance(item.get(key), str)]


def _missing_files(datalist: Mapping[str, Any]) -> list[str]:
    paths = [item[key] for section in SECTIONS for item in datalist[section] for key in _paths_of(item)]
    return [f"{p}: expected a file, found nothing there" for p in dict.fromkeys(paths) if not Path(p).exists()]


def _shared(datalist: Mapping[str, Any], key: str) -> list[str]:
    """Patients or images that occur in two sections."""
    seen: dict[str, set[str]] = {}
    for section in SECTIONS:
        for item in datalist[section]:
            if key in item:
                seen.setdefault(str(item[key]), set()).add(section)
    return [
        f"{key} {value}: expected in one section, found in {' and '.join(sorted(sections))}"
        for value, sections in seen.items()
        if len(sections) > 1
    ]


def _other_classes(datalist: Mapping[str, Any], class_names: Sequence[str] | None) -> list[str]:
    """A class that does not occur scores a perfect Dice: the configuration's classes must be the data's."""
    labels = {int(number): str(title) for number, title in datalist.get("labels", {}).items()}
    found = [title for number, title in sorted(labels.items()) if number > 0]
    if class_names is None or not labels or found == list(class_names):
        return []
    return [f'"labels": expected the classes {list(class_names)} of the configuration, found {found}; set class_names']
