"""A bundle's student on one DICOM study, without a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medkd.bundle import infer, read_bundle
from medkd.dicom import read_series, write_segmentation

__all__ = ["InferenceReport", "infer_study"]


@dataclass(frozen=True)
class InferenceReport:
    """What was written.

    Attributes:
        path: the DICOM segmentation.
        slices: of the series.
        voxels: for each label how many there are.
    """

    path: Path
    slices: int
    voxels: dict[str, int]


def infer_study(
    bundle: str | Path,
    study: str | Path,
    output: str | Path,
    *,
    device: str = "cpu",
    runtime: str | None = None,
    precision: str | None = None,
) -> InferenceReport:
    """Segment a DICOM series by a bundle's ``inference.yaml`` and write a DICOM segmentation.

    Args:
        bundle: its folder, with ``models/model.pt``; one for volumes.
        study: the folder of one series of the bundle's modality.
        output: the file to write; it is complete or not there.
        device: of the network.
        runtime: what runs the student, as for ``medkd.bundle.student_network``; what ``inference.yaml`` says by default.
        precision: of an exported student, likewise.

    Raises:
        FileNotFoundError: if the bundle has no weights, was not exported for the runtime, or there is no study.
        ValueError: for a study that is no sound series of the bundle's modality, or a bundle for pictures.
    """
    found = read_bundle(Path(bundle).resolve())
    if found.pictures:
        raise ValueError(
            f"{bundle}: expected a bundle for volumes, found one for pictures; use `monai.bundle run` for those"
        )
    series = read_series(study, modality=found.modality)
    found.inference.update({"device": device})
    found.run_by(runtime, precision)
    mask, affine = infer(found.inference, found.student().to(device), series.path)
    name, version = str(found.metadata.get("name", found.path.name)), str(found.metadata.get("version", ""))
    path = write_segmentation(
        mask.numpy().astype(np.uint8),
        affine,
        series,
        output,
        labels=found.labels,
        codes=found.metadata.get("label_codes"),
        algorithm=name,
        version=version,
    )
    voxels = {name: int((mask == value).sum()) for name, value in found.labels.items()}
    return InferenceReport(path, len(series.slices), voxels)
