"""The virtual environment of a MONAI Label server, from versions that were tested together."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
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
        for packages in (_FIRST, ["--no-deps", "-r", str(pins)], ["--no-deps", *_LAST], ["--no-deps", *_medkd()]):
            _run([str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", *packages])
    _run([str(python), "-c", "import medkd.handlers, medkd.networks, medkd.transforms, pydicom, jsonschema"])
    ready.write_text(wanted, encoding="utf-8")
    return python


def _signature() -> str:
    """What the environment was made of: another list of pins makes it anew."""
    pins = (resources.files("medkd.serving") / _PINS).read_text(encoding="utf-8")
    return "\n".join([*_FIRST, pins, *_LAST, *_medkd()])


def _medkd() -> list[str]:
    """How to install the medkd that is running: from its checkout, or the same release."""
    distribution = metadata.distribution("medkd")
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    url = str(origin.get("url", ""))
    if not url.startswith("file://"):
        return [f"medkd=={distribution.version}"]
    editable = bool(origin.get("dir_info", {}).get("editable"))
    return [*(["--editable"] if editable else []), url2pathname(urlparse(url).path)]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)}: expected success, found exit {done.returncode}:\n{done.stderr[-2000:]}"
        )
