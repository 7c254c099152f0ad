"""Learning curves, from the MLflow store that a training was tracked in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medkd.bundle import run_of
from medkd.handlers.offline_store import named
from medkd.report.material import Cell, Material
from medkd.runs import sqlite_uri

__all__ = ["Curve", "read_curves"]

Line = tuple[list[int], list[float]]


@dataclass(frozen=True)
class Curve:
    """Of one training.

    Attributes:
        network: what the report calls it.
        score: name of the key metric.
        validation: epochs and values of it.
        loss: epochs and values of the training loss.
        kept: the epoch whose network was kept: the first with the best value.
        best: that value.
        run: id of the MLflow run.
        tags: of the run.
    """

    network: str
    score: str
    validation: Line
    loss: Line
    kept: int
    best: float
    run: str
    tags: dict[str, str]


def read_curves(material: Material) -> tuple[dict[str, list[Curve]], str]:
    """The curves of the networks that are set side by side, and why there are none where there are none."""
    store = _store(material.folder)
    if store is None:
        return {}, "no MLflow store lies in the folder (mlruns.db), and MLFLOW_TRACKING_URI names none"
    from mlflow import MlflowClient

    try:
        client = MlflowClient(store)
        experiments = [one.experiment_id for one in client.search_experiments()]
        curves = {
            part: [
                curve
                for cell in material.cells
                if cell.network == network and (curve := _curve(client, experiments, cell))
            ]
            for part, network in material.shown.items()
        }
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a store, the rest of the report stands without it
        return {}, f"the MLflow store {store} could not be read ({type(error).__name__}: {str(error).splitlines()[0]})"
    return curves, "" if any(curves.values()) else f"the MLflow store {store} holds no run of these trainings"


def _store(folder: Path) -> str | None:
    for path in (folder / "mlruns-offline.db", folder / "mlruns.db", folder / "eval" / "mlruns.db"):
        if path.is_file():
            return sqlite_uri(path)
    return os.environ.get("MLFLOW_TRACKING_URI")


def _curve(client: Any, experiments: Sequence[str], cell: Cell) -> Curve | None:
    wanted = _run_of(cell)
    if wanted is None or cell.network.endswith("its teacher"):  # its curve would be that of the student's own training
        return None
    found = client.search_runs(experiments, wanted, max_results=1)
    if not found:
        return None
    run = found[0]
    score = _metric(run.data.metrics, ("val/mean_dice", "val_mean_dice", "val/selection", "val_selection"), "val")
    loss = _metric(run.data.metrics, ("train/loss", "train_loss"), "train")
    validation = _history(client, run.info.run_id, score)
    if not validation[0]:
        return None
    best = max(validation[1])
    kept = validation[0][validation[1].index(best)]
    return Curve(
        cell.network,
        score or "",
        validation,
        _history(client, run.info.run_id, loss),
        kept,
        best,
        run.info.run_id,
        dict(run.data.tags),
    )


def _run_of(cell: Cell) -> str | None:
    """MLflow's filter for its run: of the name that its student's file says, or that it was downloaded from; else as a ladder calls it."""
    kept, student = cell.folder / "run_name.txt", cell.folder / "models" / "model.pt"
    name = kept.read_text(encoding="utf-8").strip() if kept.is_file() else run_of(student)
    if name:
        return named(name)
    in_ladder = cell.folder.name == f"seed{cell.seed}"  # a student of an earlier version says nothing
    return f"attributes.run_name LIKE '{cell.network}-seed{cell.seed}-%'" if in_ladder and student.is_file() else None


def _metric(metrics: dict[str, float], wanted: Sequence[str], start: str) -> str | None:
    """The first of the wanted names that was logged, or the first of that kind."""
    known = [name for name in wanted if name in metrics]
    return next(iter([*known, *sorted(name for name in metrics if name.startswith((f"{start}/", f"{start}_")))]), None)


def _history(client: Any, run_id: str, name: str | None) -> Line:
    points = client.get_metric_history(run_id, name) if name else []
    steps = {point.step: point.value for point in sorted(points, key=lambda point: (point.step, point.timestamp))}
    return list(steps), list(steps.values())
