"""A DICOM study by a bundle's student, as ``medkd infer`` does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from medkd.bundle import read_bundle
from medkd.dicom import read_series
from medkd.files import atomic_path, sha256
from medkd.infer import infer_study

__all__ = ["claim_folder", "find_series", "segment_study"]

_CLAIM = "student.json"


def segment_study(
    study: str, *, bundle: str, output: str, device: str | None, runtime: str | None, precision: str | None
) -> bool:
    """Write ``OUTPUT/STUDY.dcm``, a DICOM segmentation, if that of the same slices is not there.

    Args:
        study: the folder of one series.
        bundle: the bundle's folder.
        output: folder of the results.
        device: of the network; ``None``: the GPU of the machine, if it has one.
        runtime: as for ``infer_study``.
        precision: likewise.

    Returns:
        Whether it was written; ``False``: it was there.

    Raises:
        FileNotFoundError: as ``infer_study``.
        ValueError: likewise; and if what is there is of other slices, another patient's or those that had arrived by then.
    """
    target = Path(output) / f"{Path(study).name}.dcm"
    if target.is_file():
        _check_slices(target, study)
        return False
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    infer_study(bundle, study, target, device=device, runtime=runtime, precision=precision)
    return True


def _check_slices(segmentation: Path, study: str) -> None:
    import pydicom

    def header(file: Path) -> Any:
        return pydicom.dcmread(file, stop_before_pixels=True)

    there = {
        str(image.ReferencedSOPInstanceUID)
        for series in header(segmentation).ReferencedSeriesSequence
        for image in series.ReferencedInstanceSequence
    }
    own = {str(slice_.SOPInstanceUID) for slice_ in read_series(study).slices}
    if there != own:
        raise ValueError(
            f"{segmentation}: expected the segmentation of the {len(own)} slices of {study}, found that of {len(there)}, of which "
            f"{len(there & own)} are the same; delete it, or name another folder"
        )


def find_series(source: str | Path) -> list[Path]:
    """The folders in a folder, each that of one DICOM series, in order.

    Raises:
        FileNotFoundError: if there is none.
    """
    root = Path(source)
    found = sorted(path for path in root.glob("[!.]*") if path.is_dir())
    if not found:
        raise FileNotFoundError(f"{root}: expected folders in it, of one DICOM series each, found none")
    return found


def claim_folder(output: str | Path, bundle: str | Path, runtime: str | None, precision: str | None) -> None:
    """Say in ``student.json`` of a folder whose segmentations it holds: the student, and what runs it.

    Raises:
        FileNotFoundError: if there is no student, or nothing was exported of it for the runtime.
        FileExistsError: if the folder holds those of another one.
        ValueError: for a bundle that is not for volumes.
    """
    found = read_bundle(Path(bundle))
    if found.pictures:
        raise ValueError(
            f"{bundle}: expected a bundle for slides, with configs/slides.yaml, or for volumes, found one for pictures"
        )
    found.run_by(runtime, precision)
    found.student()
    configuration = next((found.path / "configs").glob("inference.*"))
    claim = {"student_sha256": sha256(found.model), "configuration_sha256": sha256(configuration), **found.runtime}
    path = Path(output) / _CLAIM
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != claim:
        raise FileExistsError(
            f"{output}: expected segmentations by this student, found those by another, or another configuration, runtime "
            "or precision; name another folder"
        )
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(claim, indent=2) + "\n", encoding="utf-8")
