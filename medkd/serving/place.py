"""Putting a bundle where a MONAI Label server looks for it, and taking it back."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import medkd
from medkd.bundle import freeze, read_bundle, unfrozen
from medkd.bundle.parts import copy_parts
from medkd.bundle.runtimes import PYTORCH
from medkd.files import atomic_folder
from medkd.runs import sqlite_uri
from medkd.serving.checks import deployment_problems
from medkd.serving.registry import fetched, registered_name
from medkd.serving.versions import decide, next_version, serve, served, take_back

__all__ = ["Deployment", "deploy", "deploy_model", "keep_student", "rollback"]


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
            sqlite_uri(app / "mlruns.db")
        )  # MLflow refuses the server's file store
        if self.modality in {"MR", "US", "PT"}:  # a server asks a PACS for CT alone
            settings += f' MONAI_LABEL_DICOMWEB_SEARCH_FILTER=\'{{"Modality": "{self.modality}"}}\''
        return f"{settings} monailabel start_server --app {shlex.quote(str(app))} --studies STUDIES {options}"


def deploy(
    bundle: str | Path,
    app_dir: str | Path,
    *,
    name: str | None = None,
    link: bool = False,
    runtime: str | None = None,
    precision: str | None = None,
) -> Deployment:
    """Check a bundle as the server will use it, and put it into a MONAI Label app as a new version.

    Args:
        bundle: the bundle's folder, with ``models/model.pt``.
        app_dir: the app's folder, with its ``main.py``; where there is none yet, medkd's own app is made.
        name: what the server will call it; the folder's name by default.
        link: lead to the bundle itself and copy nothing.
        runtime: what runs the student, as for ``medkd.bundle.student_network``; what ``inference.yaml`` says by default.
        precision: of an exported student, likewise.

    What the student was trained with, and what runs it, is written into the copy's configurations and metadata; a bundle that
    is linked to must say it already (``medkd freeze``).

    Raises:
        FileNotFoundError: if the folder holds something else than an app.
        ValueError: with all problems of the bundle, or if something else is in its place; the app is unchanged then.
    """
    source, app = Path(bundle).resolve(), Path(app_dir).resolve()
    name = name or source.name
    problems = deployment_problems(source, name, runtime=runtime, precision=precision)
    if link and not problems:
        problems = [*_link_problems(source, runtime, precision)]
    if problems:
        raise ValueError("\n".join([f"{source}: cannot be served:", *(f"  - {problem}" for problem in problems)]))
    _make_app(app)
    place = app / "model" / name
    if place.exists() and not place.is_symlink():
        raise ValueError(
            f"{place}: expected nothing or an earlier deployment, found a folder; remove it or give another --name"
        )
    version = next_version(place)
    if link:
        version.parent.mkdir(parents=True, exist_ok=True)
        version.symlink_to(source, target_is_directory=True)
    else:
        found = read_bundle(source)
        found.run_by(runtime, precision)
        _copy(source, version, runtime=found.runtime)
    serve(place, version)
    return Deployment(place, version, read_bundle(source).modality)


def deploy_model(uri: str, app_dir: str | Path, *, name: str | None = None) -> Deployment:
    """Put a student of an MLflow store into an app, as ``deploy`` puts a folder there; PyTorch runs it.

    Args:
        uri: as for ``medkd.serving.registry.fetched``.
        app_dir: as for ``deploy``.
        name: what the server will call it; the registered model's name by default.

    Raises:
        ValueError: and others, as ``fetched`` and ``deploy`` raise them.
    """
    name = name or registered_name(uri)
    with fetched(uri) as bundle:
        return deploy(bundle, app_dir, name=name, runtime=PYTORCH["runtime"], precision=PYTORCH["precision"])


def rollback(app_dir: str | Path, name: str) -> Deployment:
    """Let the server find the version again that was served before the present one, which stays on disk.

    Raises:
        FileNotFoundError: if nothing of that name was deployed, or no version is before it.
    """
    place = Path(app_dir).resolve() / "model" / name
    version = take_back(place)
    return Deployment(place, version, read_bundle(version).modality)


def keep_student(place: Path, student: Path) -> Path:
    """Make a version of the one that is served and a retrained student; it is not served yet.

    Args:
        place: ``APP/model/NAME``.
        student: the file with its weights and settings.

    Returns:
        The version's folder. The bundle's own data, which no version holds twice, is linked to. PyTorch runs it, for nothing was
        exported of this student.

    Raises:
        FileNotFoundError: if nothing was deployed there.
    """
    present, version = served(place).resolve(), next_version(place)
    _copy(present, version, student=student)
    return version


def _make_app(app: Path) -> None:
    """Make the app of this package, unless there is one."""
    if (app / "main.py").is_file():
        return
    if app.exists() and (app.is_file() or any(app.iterdir())):
        raise FileNotFoundError(f"{app}: expected a MONAI Label app with main.py or an empty folder, found other files")
    with atomic_folder(app) as partial:
        (partial / "model").mkdir()
        shutil.copy2(Path(medkd.__file__).parent / "monailabel" / "main.py", partial / "main.py")


def _link_problems(source: Path, runtime: str | None, precision: str | None) -> Iterator[str]:
    for path in unfrozen(source):
        yield f"{path}: differs from what the student was trained with; `medkd freeze`"
    own = read_bundle(source).runtime
    for key, value in {"runtime": runtime, "precision": precision}.items():
        if value not in (None, own[key]):
            yield f"{key}: expected {value} in the configs/inference.yaml that is linked to, found {own[key]}; write it there"


def _copy(source: Path, version: Path, *, student: Path | None = None, runtime: Mapping[str, str] = PYTORCH) -> None:
    with atomic_folder(version) as partial:
        copy_parts(source, partial, student=student, runtime=runtime)
        if student is not None:
            decide(partial, {"promoted": False, "reason": "it was not compared with the one that is served"})
            if (source / "data").is_dir():
                (partial / "data").symlink_to(os.path.relpath((source / "data").resolve(), version))
        # The server reads files, and knows nothing of settings in weights.
        freeze(partial, runtime)
