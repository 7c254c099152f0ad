"""ACDC (Bernard et al., IEEE TMI 2018): the official folder layout becomes a checked datalist.

Expected: ``patientNNN/patientNNN_frameFF.nii.gz`` with ``…_gt.nii.gz`` beside it and, for scribbles (Valvano et al.,
IEEE TMI 2021), ``…_scribble.nii.gz`` in which 4 means "not annotated".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medkd.datasets.datalist import check_datalist, write_datalist
from medkd.datasets.split import split_patients
from medkd.errors import DataError
from medkd.files import atomic_folder
from medkd.transforms.seeds import seed_label

__all__ = ["CLASSES", "prepare_acdc", "split_acdc"]

CLASSES = {
    "all": {0: "background", 1: "right ventricle", 2: "myocardium", 3: "left ventricle"},
    "lv": {0: "background", 1: "left ventricle"},
}
_SCRIBBLE_UNANNOTATED = 4
_FOLDS = 5
Weak = Literal["scribble", "erosion", "random", "ellipse", "none"]


def prepare_acdc(
    source: str | Path,
    output: str | Path,
    *,
    strong: int = 3,
    weak: Weak = "scribble",
    classes: Literal["all", "lv"] = "all",
    fold: int = 0,
    seed: int = 0,
    seed_fraction: float = 0.03,
    validation: int | None = None,
    progress: bool = False,
) -> dict[str, dict[str, int]]:
    """Check ACDC, split it by patient, and write a datalist with its weak labels.

    Args:
        source: folder of ``patientNNN`` folders.
        output: folder to make; it must not hold anything yet.
        strong: number of training patients whose full masks are used.
        weak: what is annotated on the other patients: scribbles, seeds made from the masks, or nothing.
        classes: all four classes, or the left ventricle alone (as in the ConfKD paper).
        fold: 0 to 4; the test patients are every fifth one, counted from the fold.
        seed: of the choice of strong and validation patients and of the seeds.
        seed_fraction: share of each structure that a seed label annotates.
        validation: number of validation patients; a tenth of all patients by default, 10 of ACDC's 100.
        progress: show a progress bar.

    Returns:
        For each section the number of images, patients and strong images.

    Raises:
        DataError: with every problem of every file; nothing is written then.
        ValueError: if there are too few patients for the split.
    """
    source = Path(source).resolve()
    if classes not in CLASSES:
        raise ValueError(f"classes must be one of {sorted(CLASSES)}, got {classes!r}")
    patients = sorted(path.name for path in source.glob("patient*") if path.is_dir())
    if not patients:
        raise DataError(source, ["expected folders patient001, patient002, …, found none"])
    split = split_acdc(patients, strong=strong, fold=fold, seed=seed, validation=validation)
    frames = {patient: _frames(source / patient) for patient in patients}
    problems = _layout_problems(source, frames, scribbles=weak == "scribble")
    if problems:
        raise DataError(source, problems)
    with atomic_folder(output) as partial:
        build = _ItemBuilder(Path(output).resolve(), partial, weak, classes, seed, seed_fraction)
        datalist: dict[str, Any] = {"name": "ACDC", "labels": {str(k): v for k, v in CLASSES[classes].items()}}
        for section in ("training", "validation", "test"):
            chosen = split[section]
            datalist[section] = [
                build(patient, frame, section == "training", patient in split["strong"])
                for patient in chosen
                for frame in frames[patient]
            ]
        # Relative paths hold for the final folder, which has the same parent as the partial one.
        write_datalist(partial / "datalist.json", datalist)
        try:
            sections = check_datalist(partial, progress=progress)
        except DataError as error:
            raise DataError(source, [*build.problems, *error.problems]) from None
        if build.problems:
            raise DataError(source, build.problems)
        return sections


def split_acdc(
    patients: Sequence[str], *, strong: int, fold: int, seed: int, validation: int | None = None
) -> dict[str, list[str]]:
    """Split by patient: every fifth is tested on; strong and validation patients are drawn from the others.

    ACDC is ordered by disease, 20 patients each. Every fifth patient gives a test set with all of them; a block of
    consecutive patients, as in WSL4MIS, is one disease alone.

    Raises:
        ValueError: if a number does not fit the patients there are.
    """
    patients = sorted(patients)
    validation = max(1, len(patients) // 10) if validation is None else validation
    folds = min(_FOLDS, len(patients))
    if not 0 <= fold < folds:
        raise ValueError(f"fold must lie in [0, {folds}) with {len(patients)} patients, got {fold}")
    test = patients[fold::folds]
    rest = [patient for patient in patients if patient not in test]
    if strong < 1 or validation < 0 or strong + validation > len(rest):
        raise ValueError(
            f"strong must be at least 1 and leave {validation} validation patients among {len(rest)}, got {strong}"
        )
    split = split_patients(rest, {"validation": validation / len(rest)} if validation else {}, seed)
    training = [patient for patient, section in split.items() if section == "training"]
    held_out = sorted(split.keys() - training)
    return {"training": sorted(training), "validation": held_out, "test": test, "strong": sorted(training[:strong])}


class _ItemBuilder:
    """Makes the datalist item of one frame, and writes the labels that do not exist yet."""

    def __init__(self, final: Path, partial: Path, weak: Weak, classes: str, seed: int, fraction: float) -> None:
        self.final, self.partial = final, partial
        self.weak, self.classes, self.seed, self.fraction = weak, classes, seed, fraction
        self.problems: list[str] = []

    def __call__(self, patient: str, frame: Path, training: bool, strong: bool) -> dict[str, Any]:
        stem = frame.name.removesuffix(".nii.gz")
        truth = frame.with_name(f"{stem}_gt.nii.gz")
        item: dict[str, Any] = {"image": self._relative(frame), "label": self._relative(truth), "patient": patient}
        if self.classes == "lv":
            item["label"] = self._write(f"labels/{stem}.nii.gz", truth, _left_ventricle)
        if training:
            item["supervision"] = "strong" if strong else "none" if self.weak == "none" else "weak"
            if self.weak != "none":
                item["weak_label"] = self._weak_label(frame, stem, truth)
        return item

    def _weak_label(self, frame: Path, stem: str, truth: Path) -> str:
        name = f"weak_labels/{stem}.nii.gz"
        if self.weak == "scribble":
            scribble = frame.with_name(f"{stem}_scribble.nii.gz")
            return self._write(name, scribble, self._scribble, also=[_SCRIBBLE_UNANNOTATED])
        number = int("".join(filter(str.isdigit, stem)))
        rng = np.random.default_rng([self.seed, number])

        def seeds(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
            label = _left_ventricle(label) if self.classes == "lv" else label
            return seed_label(label, method=self.weak, rng=rng, fraction=self.fraction)

        return self._write(name, truth, seeds)

    def _scribble(self, label: NDArray[np.uint8]) -> NDArray[np.uint8]:
        values = _left_ventricle(label) if self.classes == "lv" else label
        return np.where(label == _SCRIBBLE_UNANNOTATED, 255, values).astype(np.uint8)

    def _write(
        self,
        name: str,
        source: Path,
        change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
        *,
        also: Sequence[int] = (),
    ) -> str:
        """A label made from another, whose values must be ACDC's, or those ``also`` allowed."""
        try:
            image = nib.nifti1.load(source)
            values = np.asarray(image.dataobj)
        except Exception:  # noqa: BLE001 - whatever the reader raises: the check of the datalist reads it again and says so
            return self._relative(source)
        strange = np.setdiff1d(values, [*CLASSES["all"], *also])
        if strange.size:
            self.problems.append(f"{source}: expected the labels of ACDC, found {strange[:5].tolist()}")
        changed = change(values.astype(np.uint8))
        target = self.partial / name
        target.parent.mkdir(exist_ok=True)
        header = image.header.copy()
        header.set_data_dtype(np.uint8)
        nib.nifti1.save(nib.nifti1.Nifti1Image(changed, image.affine, header), target)
        return name

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self.final)


def _left_ventricle(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(label == 3, dtype=np.uint8)


def _frames(folder: Path) -> list[Path]:
    """The images of a patient: ED and ES, not masks, not scribbles, not the 4D series."""
    return sorted(p for p in folder.glob(f"{folder.name}_frame*.nii.gz") if p.name.count("_") == 1)


def _layout_problems(source: Path, frames: dict[str, list[Path]], *, scribbles: bool) -> list[str]:
    problems = []
    for patient, images in frames.items():
        if not images:
            problems.append(f"{source / patient}: expected {patient}_frameFF.nii.gz, found none")
        for image in images:
            for suffix in ("_gt", "_scribble") if scribbles else ("_gt",):
                beside = image.with_name(image.name.replace(".nii.gz", f"{suffix}.nii.gz"))
                if not beside.exists():
                    problems.append(f"{beside}: expected a label beside {image.name}, found nothing there")
    return problems
