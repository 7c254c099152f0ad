"""Where a student is from: files and their digests, settings that differ, versions, size and cost."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from medkd.efficiency.table import summary
from medkd.files import sha256
from medkd.networks.checkpoints import read_checkpoint
from medkd.report.curves import Curve
from medkd.report.material import Cell, Material

__all__ = ["Model", "differing", "efficiency", "files", "models", "versions"]

_VERSIONS = ("medkd", "monai", "torch", "pytorch-ignite")


@dataclass(frozen=True)
class Model:
    """A network's file, of its first seed.

    Attributes:
        network: what the report calls it.
        parameters: how many numbers there are in it.
        size: in bytes.
        minutes: of training, the mean over seeds; NaN where nobody knows.
    """

    network: str
    parameters: int | None
    size: int | None
    minutes: float


def models(material: Material) -> list[Model]:
    """Of the networks that are set side by side."""
    found = []
    for network in material.shown.values():
        cells = [cell for cell in material.cells if cell.network == network]
        path = _model(cells[0])
        minutes = pd.Series([cell.minutes for cell in cells]).mean()
        known = path.is_file() and not network.endswith("its teacher")
        found.append(
            Model(network, _parameters(path) if known else None, path.stat().st_size if known else None, float(minutes))
        )
    return found


def _model(cell: Cell) -> Path:
    return cell.folder / "models" / "model.pt"


def _parameters(path: Path) -> int:
    content = read_checkpoint(path)
    tensors = content["model"].values() if "model" in content else content.values()
    return sum(tensor.numel() for tensor in tensors if torch.is_tensor(tensor) and tensor.is_floating_point())


def efficiency(material: Material, folder: str | Path | None = None) -> pd.DataFrame | None:
    """What ``medkd efficiency`` has measured, medians over its cases; None where it was not run.

    Args:
        material: whose folder, or the bundle's, holds ``efficiency/measured.csv``.
        folder: its output, if it lies elsewhere.

    Raises:
        FileNotFoundError: if a folder is named that holds no measurements.
    """
    places = [Path(folder)] if folder else [place / "efficiency" for place in (material.folder, material.ladder.bundle)]
    for place in places:
        if (place / "measured.csv").is_file():
            return summary(pd.read_csv(place / "measured.csv"))
    if folder:
        raise FileNotFoundError(
            f"{folder}: expected measured.csv, the output of `medkd efficiency`, found nothing there"
        )
    return None


def files(material: Material) -> list[tuple[str, str]]:
    """The digests of networks, configurations and the datalist."""
    shown = [_model(cell) for cell in material.cells if cell.network in material.shown.values()]
    found = [(str(path.relative_to(material.folder)), sha256(path)) for path in shown if path.is_file()]
    mark = material.folder / "settings.json"
    settings = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else {}
    found += [(f"configs/{name}", f"{digest} …") for name, digest in settings.get("configs", {}).items()]
    found += [("datalist.json", material.data.digest)] if material.data else []
    return list(dict.fromkeys(found))


def differing(material: Material) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The settings in which the rungs differ: their names, and for each setting a value per rung."""
    rungs = list(material.ladder.rungs)
    overrides = {rung: dict(material.ladder.rungs[rung]) for rung in rungs}
    for rung in rungs:
        cell = next((cell for cell in material.cells if cell.network == rung), None)
        overrides[rung] = dict(cell.settings) if cell and cell.settings else overrides[rung]
    keys = sorted({key for own in overrides.values() for key in own} - {"seed"})
    rows = [(key, [_text(own.get(key, "")) for own in overrides.values()]) for key in keys]
    return rungs, [(key, values) for key, values in rows if len(set(values)) > 1]


def _text(value: Any) -> str:
    text = json.dumps(value) if isinstance(value, (dict, list, bool)) or value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def versions(curves: Mapping[str, Iterable[Curve]]) -> list[tuple[str, str]]:
    """What the student was trained with, as MLflow has it, and what made this page."""
    tags = next((curve.tags for own in curves.values() for curve in own), {})
    wanted = ("git_commit", "device", *(f"version.{name}" for name in ("python", *_VERSIONS)))
    trained = [(f"training: {key.removeprefix('version.')}", tags[key]) for key in wanted if key in tags]
    here = [(f"this page: {name}", metadata.version(name)) for name in _VERSIONS]
    return [*trained, *here, ("this page: python", platform.python_version())]
