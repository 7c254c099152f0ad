"""Names and codes of a mask's segments, where the server writes a DICOM segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import LoadImage

from medkd.dicom.segmentation import ANATOMY, TISSUE

__all__ = ["segment_attributes"]


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
    there = set(np.unique(np.asarray(LoadImage(image_only=True)(str(mask)))).astype(int).tolist())
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
