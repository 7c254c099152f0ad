"""Where measurements are kept."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medkd.efficiency.picture import save_picture
from medkd.efficiency.table import render, summary
from medkd.files import atomic_path

__all__ = ["check_place", "log", "write", "write_so_far"]

_ROWS = "measured.csv"
_SO_FAR = "so_far.csv"
_NAMES = ("network", "runtime", "precision")
_NUMBERS = ("seconds", "warm", "peak", "area", "file", "parameters", "macs", "score")


def check_place(folder: Path) -> None:
    """Measurements are not replaced.

    Raises:
        FileExistsError: if there are some in the folder.
    """
    if (folder / _ROWS).exists():
        raise FileExistsError(
            f"{folder / _ROWS}: expected no earlier measurement, found one; name another --output_dir"
        )


def write_so_far(measured: pd.DataFrame, folder: Path) -> None:
    """``so_far.csv``, the rows of a measurement that goes on."""
    with atomic_path(folder / _SO_FAR) as partial:
        measured.to_csv(partial, index=False)


def write(measured: pd.DataFrame, folder: Path) -> str:
    """``measured.csv``, a row per process; ``table.md``, which is returned; with scores ``pareto.png``."""
    text = render(measured)
    with atomic_path(folder / _ROWS) as partial:
        measured.to_csv(partial, index=False)
    with atomic_path(folder / "table.md") as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    if "score" in measured:
        save_picture(measured, folder / "pareto.png")
    (folder / _SO_FAR).unlink(missing_ok=True)
    return text


def log(folder: Path, measured: pd.DataFrame, tracking_uri: str) -> str:
    """A run of MLflow's experiment ``efficiency`` with a child for each candidate; its name."""
    from mlflow import MlflowClient

    from medkd.handlers.tracking_client import experiment_id

    client = MlflowClient(tracking_uri)
    experiment = experiment_id(client, "efficiency")
    run = client.create_run(experiment)
    for path in filter(Path.is_file, folder.iterdir()):
        client.log_artifact(run.info.run_id, str(path))
    for _, line in summary(measured).iterrows():
        name = " ".join(str(line[key]) for key in _NAMES)
        child = client.create_run(experiment, run_name=name, tags={"mlflow.parentRunId": run.info.run_id}).info.run_id
        for key in _NAMES:
            client.log_param(child, key, line[key])
        for key in line.index.intersection(_NUMBERS):
            client.log_metric(child, key, float(line[key]))
        client.set_terminated(child)
    client.set_terminated(run.info.run_id)
    return str(run.info.run_name)
