"""A mask as a DICOM segmentation object (Supplement 111), which refers to the slices it was made from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import medkd
from medkd.dicom.series import Series
from medkd.files import atomic_path

__all__ = ["ANATOMY", "TISSUE", "write_segmentation"]

_logger = logging.getLogger(__name__)
# What a segment is called that the bundle has no codes for (categories: CID 7150).
ANATOMY = ["SCT", "91723000", "Anatomical Structure"]
TISSUE = ["SCT", "85756007", "Tissue"]
# Of patient and study, of type 2 in the standard: they must be there, and may be empty.
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime", "AccessionNumber",
    "ReferringPhysicianName",
)  # fmt: skip


def write_segmentation(
    mask: NDArray[np.integer[Any]],
    affine: NDArray[np.floating[Any]],
    series: Series,
    output: str | Path,
    *,
    labels: Mapping[str, int],
    codes: Mapping[str, Any] | None = None,
    algorithm: str = "medkd",
    version: str = medkd.__version__,
) -> Path:
    """Write a mask of a series; segments that are empty are in it too.

    Args:
        mask: ``[X, Y, Z]``, 0 and the values of ``labels``.
        affine: from its voxels to millimetres, right-anterior-superior, as NIfTI has it.
        series: what was segmented.
        output: the file; it is complete or not there.
        labels: names and values.
        codes: for a value (as text) ``{"category": [scheme, code, meaning], "type": [scheme, code, meaning]}``; without
            one a segment is coded as tissue.
        algorithm: name of what made the mask.
        version: of it.

    Returns:
        The file.

    Raises:
        ValueError: if mask and series do not have the same grid, or a header holds what DICOM does not allow; which value is
            not said, for it may be the patient's.
    """
    import highdicom
    from highdicom.seg import Segmentation
    from pydicom.uid import generate_uid

    frames = np.stack([_frame(mask, affine, dataset) for dataset in series.slices])
    segments = [
        _description(number, name, dict(codes or {}).get(str(value)), algorithm, version)
        for number, (name, value) in enumerate(labels.items(), 1)
    ]
    stacked = np.stack([frames == value for value in labels.values()], axis=-1).astype(np.uint8)
    for dataset in series.slices:
        for keyword in _MAY_BE_EMPTY:
            if keyword not in dataset:  # an anonymiser took it away
                setattr(dataset, keyword, "")
    try:
        written = Segmentation(
            source_images=series.slices,
            pixel_array=stacked,
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=generate_uid(),
            series_number=int(series.slices[0].get("SeriesNumber") or 0) + 1000,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="medkd",
            manufacturer_model_name=algorithm[:64],
            software_versions=medkd.__version__,
            device_serial_number="0",
            content_label="SEGMENTATION",
            series_description=algorithm[:64],
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{series.path}: expected headers that a DICOM segmentation can repeat, found one that it cannot ({type(error).__name__})"
        ) from None
    with atomic_path(output) as partial:
        written.save_as(partial)
    return Path(output)


def _frame(mask: NDArray[np.integer[Any]], affine: NDArray[np.floating[Any]], dataset: Any) -> NDArray[np.integer[Any]]:
    """The mask of a slice, ``[rows, columns]``: found by the slice's position, whatever the order of the volume."""
    position = np.array([-1.0, -1.0, 1.0]) * np.asarray(dataset.ImagePositionPatient, dtype=float)  # LPS to RAS
    voxel = np.linalg.solve(affine, [*position, 1.0])[:3]
    nearest = np.round(voxel).astype(int)
    shape = (int(dataset.Columns), int(dataset.Rows))
    off_grid = np.abs(voxel - nearest).max() > 0.1 or nearest[:2].any()
    if off_grid or not 0 <= nearest[2] < mask.shape[2] or mask.shape[:2] != shape:
        raise ValueError(
            f"expected a mask on the grid of its series, {shape[0]} × {shape[1]} pixels with a slice at {position.round(2).tolist()} "
            f"(RAS), found {mask.shape} with that position at voxel {voxel.round(2).tolist()}"
        )
    frame: NDArray[np.integer[Any]] = mask[:, :, nearest[2]].T
    return frame


def _description(number: int, name: str, coded: Mapping[str, Any] | None, algorithm: str, version: str) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
    from pydicom.sr.codedict import codes

    if coded is None:
        _logger.warning(
            'The label "%s" has no code in the bundle\'s metadata (label_codes): it is coded as tissue.', name
        )
    coded = coded or {"category": ANATOMY, "type": TISSUE}
    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=_code(coded["category"]),
        segmented_property_type=_code(coded["type"]),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=algorithm[:64], version=version, family=codes.DCM.ArtificialIntelligence
        ),
    )


def _code(parts: list[str]) -> Any:
    from pydicom.sr.coding import Code

    scheme, value, meaning = parts
    return Code(value=value, scheme_designator=scheme, meaning=meaning)
