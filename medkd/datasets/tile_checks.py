"""What can be wrong with histology tiles: one of them, or a whole section."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medkd.reading.tiles import read_tile_mask, read_tile_pixels

__all__ = ["one_class_problems", "tile_problems"]

Item = dict[str, Any]


def tile_problems(item: Item, sizes: Counter[tuple[int, int]] | None = None) -> Iterator[str]:
    """What is wrong with a tile and its mask; ``sizes`` counts the sizes of sound tiles."""
    path, label = str(item["image"]), item.get("label")
    if not isinstance(label, str) and label not in (0, 1):
        yield f"{path}: expected the label 0 or 1, found {'none' if label is None else label}"
    annotation = label if isinstance(label, str) else item.get("mask")
    place = {key: item[key] for key in ("location", "size", "level") if key in item}
    try:
        pixels = read_tile_pixels(path, **place)
        if sizes is not None:
            sizes[(pixels.shape[0], pixels.shape[1])] += 1
        path = annotation or path
        mask = read_tile_mask(annotation, **place) if annotation else None
    except Exception as error:  # noqa: BLE001 - whatever the decoder raises, the file cannot be read
        yield f"{path}: cannot be read ({error})"
        return
    if mask is None:
        return
    if mask.shape != pixels.shape[:2]:
        yield f"{path}: expected the size of its tile {pixels.shape[:2]}, found {mask.shape}"
    hardly_any = item.get("tumour_fraction", 0) > 0  # test tiles keep their label where the tumour is too small for it
    if label in (0, 1) and bool(mask.any()) != bool(label) and not hardly_any:
        expected, found = ("foreground", "an empty mask") if label else ("an empty mask", "foreground")
        yield f"{path}: expected {expected}, as its tile's label is {label}, found {found}"


def one_class_problems(sections: Mapping[str, Sequence[Item]]) -> Iterator[str]:
    """Sections that lack positive or negative images: nothing can be learned from them, or measured on them."""
    for section, items in sections.items():
        labels = {int(item["label"]) for item in items}
        if len(labels) < 2:
            found = f"label {labels.pop()} alone" if labels else "no image"
            yield f'"{section}": expected positive and negative images, found {found}; another seed or share may help'
