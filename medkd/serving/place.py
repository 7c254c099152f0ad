"""Putting a bundle where a MONAI Label server looks for it, and taking it back.

``APP/model/NAME`` is a link to ``APP/model/.versions/NAME/0001``, ``0002``, …: a link is replaced in one step, so that
there is a whole bundle at any moment, and the versions before it stay.
"""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import medkd
from medkd.bundle import freeze, read_bundle, unfrozen
from medkd.files import atomic_folder
from medkd.serving.checks import deployment_problems

__all__ = ["Deployment", "deploy", "rollback"]

_PARTS = {part: part for part in ("configs", "docs", "LICENSE", "models/model.pt")}
# Retraining distils from the teacher there is: one that was put there, or else the one that the training made first.
_PARTS |= dict.fromkeys(("checkpoints/teacher/best.pt", "checkpoints/teacher.pt"), "checkpoints/teacher.pt")


@dataclass(frozen=True)
class Deployment:
    """What the server will find.

    Attributes:
        path: ``APP/model/NAME``.
        version: the folder it leads to.
        modality: of the bundle's images, as in DICOM.
    """

    path: Path
    version: Path
    modality: str

    @property
    def command(self) -> str:
        """What starts a server with this bundle, on POSIX shells."""
        app = self.path.parents[1]
        # By default the server fetches the list of the model zoo, offers SAM2, which it downloads, and answers every machine.
        options = f"--conf models {self.path.name} --conf zoo_source ngc --conf sam2 false --host 127.0.0.1"
        settings = "MONAI_LABEL_TRACKING_URI=" + shlex.quote(
            f"sqlite:///{app / 'mlruns.db'}"
        )  # MLflow refuses the server's file store
        if self.modality in {"MR", "US", "PT"}:  # a server asks a PACS for CT alone
            settings += f' MONAI_LABEL_DICOMWEB_SEARCH_FILTER=\'{{"Modality": "{self.modality}"}}\''
        return f"{settings} monailabel start_server --app {shlex.quote(str(app))} --studies STUDIES {options}"


def deploy(bundle: str | Path, app_dir: str | Path, *, name: str | None = None, link: bool = False) -> Deployment:
    """Check a bundle as the server will use it, and put it into a MONAI Label app as a new version.

    Args:
        bundle: the bundle's folder, with ``models/model.pt``.
        app_dir: the app's folder, with its ``main.py``; where there is none yet, medkd's own app is made.
        name: what the server will call it; the folder's name by default.
        link: lead to the bundle itself and copy nothing; then the server's trainings write there.

    What the student was trained with is written into the copy's configurations and metadata; a bundle that is linked to
    must say it already (``medkd freeze``).

    Raises:
        FileNotFoundError: if the folder holds something else than an app.
        ValueError: with all problems of the bundle, or if something else is in its place; the app is unchanged then.
    """
    source, app = Path(bundle).resolve(), Path(app_dir).resolve()
    name = name or source.name
    problems = deployment_problems(source, name)
    if link and not problems:
        problems = [
            f"{path}: differs from what the student was trained with; `medkd freeze`" for path in unfrozen(source)
        ]
    if problems:
        raise ValueError("\n".join([f"{source}: cannot be served:", *(f"  - {problem}" for problem in problems)]))
    _make_app(app)
    place = app / "model" / name
    if place.exists() and not place.is_symlink():
        raise ValueError(
            f"{place}: expected nothing or an earlier deployment, found a folder; remove it or give another --name"
        )
    versions = app / "model" / ".versions" / name
    version = versions / f"{_latest(versions) + 1:04d}"
    if link:
        versions.mkdir(parents=True, exist_ok=True)
        version.symlink_to(source, target_is_directory=True)
    else:
        _copy(source, version)
    _lead(place, version)
    return Deployment(place, version, read_bundle(source).modality)


def rollback(app_dir: str | Path, name: str) -> Deployment:
    """Let the server find the version before the present one again; the present one stays on disk.

    Raises:
        FileNotFoundError: if nothing of that name was deployed, or no version is before it.
    """
    place = Path(app_dir).resolve() / "model" / name
    if not place.is_symlink():
        raise FileNotFoundError(f"{place}: expected a deployed bundle, found none")
    present = place.parent / place.readlink()
    earlier = [v for v in _versions(present.parent) if v.name < present.name]
    if not earlier:
        raise FileNotFoundError(f"{place}: expected a version before {present.name}, found none")
    _lead(place, earlier[-1])
    return Deployment(place, earlier[-1], read_bundle(earlier[-1]).modality)


def _make_app(app: Path) -> None:
    """Make the app of this package, unless there is one."""
    if (app / "main.py").is_file():
        return
    if app.exists() and (app.is_file() or any(app.iterdir())):
        raise FileNotFoundError(f"{app}: expected a MONAI Label app with main.py or an empty folder, found other files")
    with atomic_folder(app) as partial:
        (partial / "model").mkdir()
        shutil.copy2(Path(medkd.__file__).parent / "monailabel" / "main.py", partial / "main.py")


def _copy(source: Path, version: Path) -> None:
    with atomic_folder(version) as partial:
        for part, place in _PARTS.items():
            target = partial / place
            target.parent.mkdir(parents=True, exist_ok=True)
            if (source / part).is_dir():
                shutil.copytree(source / part, target)
            elif (source / part).is_file():
                shutil.copy2(source / part, target)
        freeze(partial)  # the server reads files, and knows nothing of settings in weights


def _lead(place: Path, version: Path) -> None:
    """Replace the link in one step; it is relative, so that the app may be moved."""
    fresh = place.with_name(f".{os.getpid()}-{place.name}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(version, place.parent), target_is_directory=True)
    fresh.replace(place)


def _latest(versions: Path) -> int:
    return max((int(v.name) for v in _versions(versions)), default=0)


def _versions(folder: Path) -> list[Path]:
    """Whole ones: a copy in the making has another name."""
    return sorted(folder.glob("[0-9][0-9][0-9][0-9]"))
