"""The PraNet layout of polyp datasets (arXiv 2006.11392) becomes a checked datalist.

Expected: ``TrainDataset/{images,masks}`` and ``TestDataset/<name>/{images,masks}``; an image and its mask have one stem.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medkd.datasets.datalist import summary, write_datalist
from medkd.datasets.split import split_patients
from medkd.datasets.studies import images_by_stem
from medkd.errors import DataError
from medkd.files import atomic_folder
from medkd.reading.frames import read_frame, to_mask, to_rgb

__all__ = ["clinicdb_sequences", "prepare_polyp"]

# Last frame of each of the 29 sequences (https://polyp.grand-challenge.org/CVCClinicDB/).
_CLINICDB_ENDS = [
    25,
    50,
    67,
    78,
    103,
    126,
    151,
    177,
    199,
    205,
    227,
    252,
    277,
    297,
    317,
    342,
    363,
    383,
    408,
    428,
    447,
    466,
]
_CLINICDB_ENDS += [478, 503, 528, 546, 571, 591, 612]


def prepare_polyp(
    source: str | Path,
    output: str | Path,
    *,
    validation: float = 0.1,
    seed: int = 0,
    sequences: str | Path | None = None,
    labelled: int | None = None,
    unlabelled: str | Path | None = None,
    progress: bool = False,
) -> dict[str, dict[str, int]]:
    """Check every frame and mask, split off a validation set, and write a datalist.

    Args:
        source: folder of ``TrainDataset`` and ``TestDataset``.
        output: folder to make; it must not hold anything yet. No image is copied.
        validation: share of the training frames to validate on, in (0, 1).
        seed: of the split.
        sequences: CSV with the columns ``frame`` (a training image's stem) and ``sequence``; the frames of a sequence
            stay together. Frames that are not in it stand alone. A column ``dataset`` names the test set, if there is
            one, whose frames the table knows too: they are one patient by sequence, and ``seen`` marks those whose
            sequence is in the training folder as well. ``"clinicdb"``: the sequences of CVC-ClinicDB.
        labelled: training frames whose masks are used, whole sequences drawn until there are as many; the others stay
            without a label and learn from a teacher alone. ``None``: all.
        unlabelled: a folder of more training frames without a mask.
        progress: show a progress bar.

    Returns:
        For each section the number of images, patients (sequences, or frames that stand alone) and strong images.

    Raises:
        DataError: with every problem of every file; nothing is written then.
        ValueError: if ``validation`` is out of range or leaves no sequence to train on.
    """
    from tqdm import tqdm

    source = Path(source).resolve()
    folders = {"": source / "TrainDataset", **{p.name: p for p in sorted(source.glob("TestDataset/*")) if p.is_dir()}}
    problems: list[str] = []
    pairs = {name: _pairs(folder, problems) for name, folder in folders.items()}
    groups = _groups(sequences, pairs, problems)
    trained = {group for (name, _), group in groups.items() if not name}
    more = list(images_by_stem(Path(unlabelled).resolve(), problems).values()) if unlabelled else []
    everything = [pair for found in pairs.values() for pair in found.values()] + [(image, None) for image in more]
    for image, mask in tqdm(everything, desc="checking", disable=not progress):
        problems += _pair_problems(image, mask)
    if problems:
        raise DataError(source, problems)
    split = split_patients(sorted(trained), {"validation": validation}, seed)
    final = Path(output).resolve()
    datalist: dict[str, Any] = {"name": "polyp", "labels": {"0": "background", "1": "polyp"}}
    datalist["patients"] = (
        "sequences (or single images)" if sequences else "images"
    )  # whose frames they are nobody knows
    datalist |= {"training": [], "validation": [], "test": []}
    for name, found in pairs.items():
        for stem, (image, mask) in found.items():
            group = groups[name, stem]
            item: dict[str, Any] = {"image": os.path.relpath(image, final), "label": os.path.relpath(mask, final)}
            item["patient"] = f"{name}/{group}" if name else group
            if name:
                item |= {"dataset": name, "seen": group in trained}
            datalist["test" if name else split[group]].append(item)
    _withhold(datalist["training"], labelled, seed)
    datalist["training"] += [{"image": os.path.relpath(image, final), "supervision": "none"} for image in more]
    with atomic_folder(output) as partial:
        write_datalist(partial / "datalist.json", datalist)
    return {section: summary(datalist[section]) for section in ("training", "validation", "test")}


def _pairs(folder: Path, problems: list[str]) -> dict[str, tuple[Path, Path]]:
    """Image and mask by stem; what has no partner is a problem."""
    images, masks = (images_by_stem(folder / kind, problems) for kind in ("images", "masks"))
    problems += [f"{images[s]}: expected a mask {s}.* in {folder / 'masks'}, found none" for s in images.keys() - masks]
    problems += [
        f"{masks[s]}: expected an image {s}.* in {folder / 'images'}, found none" for s in masks.keys() - images
    ]
    return {stem: (images[stem], masks[stem]) for stem in sorted(images.keys() & masks)}


def _withhold(items: list[dict[str, Any]], labelled: int | None, seed: int) -> None:
    """Take the labels away of all but so many items; a patient keeps all or none."""
    if labelled is None:
        return
    if not 1 <= labelled <= len(items):
        raise ValueError(f"labelled: expected 1 to {len(items)} training frames, got {labelled}")
    patients = np.random.default_rng([seed, 1]).permutation(sorted({item["patient"] for item in items}))
    kept: list[int] = []
    for patient in patients:
        if len(kept) < labelled:
            kept += [number for number, item in enumerate(items) if item["patient"] == patient]
    for number in set(range(len(items))) - set(kept):
        del items[number]["label"]
        items[number]["supervision"] = "none"


def _pair_problems(image: Path, mask: Path | None) -> Iterator[str]:
    """Whether both can be decoded, have one size, and the mask is one."""
    path = image
    try:
        frame = read_frame(image, to_rgb)
        path = mask or image
        truth = read_frame(mask, to_mask) if mask else frame
    except Exception as error:  # noqa: BLE001 - whatever the decoder raises, the file cannot be read
        yield f"{path}: cannot be read ({error})"
        return
    low, high = frame.convert("L").getextrema()
    if low == high:
        yield f"{image}: expected an image with contrast, found the constant {low}"
    if frame.size != truth.size:
        yield f"{mask}: expected the size of its image {frame.size}, found {truth.size}"


def clinicdb_sequences() -> pd.DataFrame:
    """The sequence of every frame of CVC-ClinicDB: columns ``frame`` and ``sequence``, of strings."""
    numbers = np.searchsorted(_CLINICDB_ENDS, np.arange(1, _CLINICDB_ENDS[-1] + 1)) + 1
    table: pd.DataFrame = pd.DataFrame({"frame": np.arange(1, len(numbers) + 1), "sequence": numbers}).astype(str)
    return table


def _groups(
    table: str | Path | None, pairs: dict[str, dict[str, Any]], problems: list[str]
) -> dict[tuple[str, str], str]:
    """For every frame, by its test set (none for training) and stem, its sequence, or itself."""
    groups = {(name, stem): stem if name else f"frame {stem}" for name, found in pairs.items() for stem in found}
    if table is None:
        return groups
    clinicdb = clinicdb_sequences().assign(dataset="CVC-ClinicDB")
    rows = clinicdb if table == "clinicdb" else pd.read_csv(table, dtype=str)
    if not {"frame", "sequence"} <= set(rows.columns):
        problems.append(f"{table}: expected the columns frame and sequence, found {', '.join(rows.columns)}")
        return groups
    twice = rows["frame"][rows["frame"].duplicated()].unique()
    problems += [f"{table}: expected frame {frame} once, found it again" for frame in twice]
    problems += [
        f"{table}: expected a sequence of frame {f}, found none" for f in rows["frame"][rows["sequence"].isna()]
    ]
    if pairs[""] and not set(rows["frame"]) & pairs[""].keys():
        told = f"found {rows['frame'].iloc[0]} and {next(iter(pairs['']))}" if len(rows) else "found no row"
        problems.append(f"{table}: expected frames named as the training images, {told}")
    for row in rows.to_dict("records"):
        for place in (("", row["frame"]), (row.get("dataset"), row["frame"])):
            if place in groups:
                groups[place] = f"sequence {row['sequence']}"
    return groups
