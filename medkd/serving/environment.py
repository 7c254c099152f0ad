"""The virtual environment of a MONAI Label server, from versions that were tested together."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
import zipfile
from importlib import metadata, resources
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

__all__ = ["make_label_environment"]

# MONAI Label 0.8.5 has no upper bounds, and what pip would choose today fails at import: so no dependency is resolved.
_FIRST, _LAST = ["torch==2.13.0"], ["torchvision==0.28.0"]
_PINS = "label_requirements.txt"
_READY = "medkd-ready.txt"


def make_label_environment(path: str | Path) -> Path:
    """Make the environment, or finish one that was begun; one that is complete is left alone.

    Args:
        path: its folder.

    Returns:
        Its Python.

    Raises:
        FileExistsError: if the folder holds something else.
        RuntimeError: if an installation fails or the result cannot be imported, with the end of its output.
    """
    folder = Path(path).resolve()
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    wanted = _signature()
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").is_file():
        raise FileExistsError(f"{folder}: expected nothing or a virtual environment, found other files")
    ready = folder / _READY
    if ready.is_file() and ready.read_text(encoding="utf-8") == wanted:
        return python
    venv.create(folder, with_pip=True, symlinks=sys.platform != "win32")
    with resources.as_file(resources.files("medkd.serving") / _PINS) as pins:
        for packages in (_FIRST, ["--no-deps", "-r", str(pins)], ["--no-deps", *_LAST]):
            _install(python, packages)
    install_own(python)
    _run([str(python), "-c", "import medkd.handlers, medkd.networks, medkd.transforms, pydicom, jsonschema"])
    ready.write_text(wanted, encoding="utf-8")
    return python


def _signature() -> str:
    """What the environment was made of: another list of pins makes it anew."""
    pins = (resources.files("medkd.serving") / _PINS).read_text(encoding="utf-8")
    own = _checkout() or [metadata.version("medkd"), metadata.distribution("medkd").read_text("RECORD") or ""]
    return "\n".join([*_FIRST, pins, *_LAST, *own])


def _checkout() -> list[str]:
    """How to install the medkd that is running, where that is one being changed."""
    origin = json.loads(metadata.distribution("medkd").read_text("direct_url.json") or "{}")
    editable = bool(origin.get("dir_info", {}).get("editable"))
    return ["--editable", url2pathname(urlparse(str(origin["url"])).path)] if editable else []


def install_own(python: str | Path) -> None:
    """Install the medkd that is running into another environment, in place of whatever medkd is there."""
    with tempfile.TemporaryDirectory() as folder:
        # pip would take a wheel of the version that is there for the one that is there.
        own = _checkout() or ["--force-reinstall", str(own_wheel(folder))]
        _install(python, ["--no-deps", *own])


def own_wheel(folder: str | Path) -> Path:
    """Pack the installed medkd into a wheel again: the server gets the very files that run here, never an index's.

    Args:
        folder: where to write it.

    Raises:
        RuntimeError: if nobody knows which files were installed.
    """
    distribution = metadata.distribution("medkd")
    files = [file for file in distribution.files or [] if ".." not in file.parts and "__pycache__" not in file.parts]
    if not files:
        raise RuntimeError("medkd: expected the list of its installed files (RECORD), found none; install it by pip")
    path = Path(folder) / f"medkd-{distribution.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in files:
            if file.name not in {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}:
                wheel.write(str(file.locate()), file.as_posix())
        names = [*wheel.namelist(), f"medkd-{distribution.version}.dist-info/RECORD"]
        wheel.writestr(names[-1], "".join(f"{name},,\n" for name in names))
    return path


def _install(python: str | Path, packages: list[str]) -> None:
    _run([str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", *packages])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)}: expected success, found exit {done.returncode}:\n{done.stderr[-2000:]}"
        )
