"""Names and codes of a mask's segments, where the server writes a DICOM segmentation: its own masks, and corrections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import LoadImage
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.interfaces.datastore import DefaultLabelTag

from medkd.dicom.segmentation import ANATOMY, TISSUE
from medkd.monailabel.refusal import refused

__all__ = ["named_corrections", "segment_attributes"]

Student = tuple[Mapping[str, Any], Mapping[str, int]]  # metadata, and values of its labels by their names


def segment_attributes(
    mask: str | Path, metadata: Mapping[str, Any], labels: Mapping[str, int]
) -> list[dict[str, Any]]:
    """``label_info`` of a mask's file, one entry for each label that is in it, by rising value.

    MONAI Label 0.8.5 gives the n-th of the labels that occur the n-th entry: where the first structure is missing, every
    other one would bear the name of the one before it.

    Args:
        mask: the file that inference wrote.
        metadata: of the bundle; ``label_codes`` holds terms as ``medkd.dicom.write_segmentation`` takes them.
        labels: names and values.
    """
    there = _values(mask)
    codes = metadata.get("label_codes", {})
    algorithm = str(metadata.get("name", "medkd"))
    return [
        {
            "name": name,
            "model_name": algorithm,
            "segmentAttribute": _segment(name, value, codes.get(str(value), {}), algorithm),
        }
        for name, value in sorted(labels.items(), key=lambda label: label[1])
        if value in there
    ]


def named_corrections(datastore: Any, students: Callable[[], Iterable[Student]]) -> Any:
    """The data store; a correction that it writes into a PACS bears the names and codes of a student's labels.

    Args:
        datastore: of a PACS; another one is left as it is.
        students: gives the served ones.
    """
    if not isinstance(datastore, DICOMWebDatastore):
        return datastore
    save = datastore.save_label

    @wraps(save)
    def save_label(
        image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], label_id: str = ""
    ) -> Any:
        if label_tag == DefaultLabelTag.FINAL and not label_filename.endswith(".bin"):
            named = correction_attributes(label_filename, label_info.get("label_info"), students())
            label_info = {**label_info, "label_info": named}
        return save(image_id, label_filename, label_tag, label_info, label_id)

    datastore.save_label = save_label
    return datastore


def correction_attributes(mask: str | Path, told: Any, students: Iterable[Student]) -> Any:
    """``label_info`` of a correction, from its values and not from the places in the client's list.

    Args:
        mask: the corrected mask.
        told: ``label_info`` of the request, entries with a ``name``, or none.
        students: those whose labels it may hold.

    Returns:
        As ``segment_attributes``, of the students whose labels these are, if they agree; segments with numbers for names where
        nobody says what they are; what the client says where it names other things than any student does.

    Raises:
        HTTPException: where a value is called otherwise by the client than by the student that knows the client's names.
    """
    values, known = _values(mask) - {0}, list(students)
    names = {str(one["name"]) for one in told or [] if isinstance(one, Mapping) and "name" in one}
    own = [(meta, labels) for meta, labels in known if not names or names & set(labels)]
    if names and not own:
        return told
    fitting = []
    for meta, labels in own:
        found = {name for name, value in labels.items() if value in values}
        if values <= set(labels.values()) and (not names or found <= names):
            fitting.append(segment_attributes(mask, meta, labels))
    if not fitting and names:
        called = "; ".join(f"{value} {name}" for _, labels in own for name, value in labels.items())
        raise refused("label_info", f"the names of the mask's values {sorted(values)}, of {called}", sorted(names))
    shown = {tuple(one["name"] for one in each) for each in fitting}
    if len(shown) == 1:
        return fitting[0]
    return segment_attributes(mask, {}, {f"label {value}": value for value in values})


def _values(mask: str | Path) -> set[int]:
    return set(np.unique(np.asarray(LoadImage(image_only=True)(str(mask)))).astype(int).tolist())


def _segment(name: str, value: int, coded: Mapping[str, Any], algorithm: str) -> dict[str, Any]:
    """In dcmqi's terms."""
    return {
        "labelID": value,
        "SegmentLabel": name,
        "SegmentDescription": name,
        "SegmentAlgorithmType": "AUTOMATIC",
        "SegmentAlgorithmName": algorithm[:64],
        "SegmentedPropertyCategoryCodeSequence": _code(coded.get("category", ANATOMY)),
        "SegmentedPropertyTypeCodeSequence": _code(coded.get("type", TISSUE)),
    }


def _code(parts: list[str]) -> dict[str, str]:
    scheme, value, meaning = parts
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}
