"""What of a bundle travels with its student: into an app, into MLflow."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from medkd.bundle.runtimes import PYTORCH, exported_path

__all__ = ["copy_parts", "with_configs"]

_PARTS = {part: part for part in ("configs", "docs", "scripts", "LICENSE", "models/model.pt")}
# Retraining distils from the teacher there is: one that was put there, or else the one that the training made first.
_TEACHER = dict.fromkeys(("checkpoints/teacher/best.pt", "checkpoints/teacher.pt"), "checkpoints/teacher.pt")


def copy_parts(
    bundle: str | Path,
    folder: str | Path,
    *,
    student: str | Path | None = None,
    teacher: bool = True,
    runtime: Mapping[str, str] = PYTORCH,
) -> None:
    """Copy configurations, scripts, documentation, licence, student and teacher of a bundle; what is not there is left out.

    Args:
        bundle: its folder.
        folder: where to; it is made if it is not there.
        student: the file that becomes ``models/model.pt``; the bundle's own by default.
        teacher: whether a teacher in ``checkpoints`` goes along.
        runtime: ``runtime`` and ``precision`` of what was exported of the student, which is copied too.
    """
    source, parts = Path(bundle), {**_PARTS, **(_TEACHER if teacher else {})}
    if runtime["runtime"] != "pytorch":
        exported = exported_path("models/model.pt", **runtime).as_posix()
        parts[exported] = exported
    for part, place in parts.items():
        target = Path(folder) / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target)
        elif (source / part).is_file():
            shutil.copy2(source / part, target)
    if student is not None:
        shutil.copy2(student, Path(folder) / "models" / "model.pt")


def with_configs(*places: str | Path) -> str | None:
    """The first of some folders that is a bundle's, with ``configs``; ``None`` if none is."""
    return next((str(place) for place in places if (Path(place) / "configs" / "metadata.json").is_file()), None)
