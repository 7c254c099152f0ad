"""Where measurements are kept."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medkd.efficiency.picture import save_picture
from medkd.efficiency.table import render, summary
from medkd.files import atomic_path

__all__ = ["check_place", "log", "write"]

_ROWS = "measured.csv"
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


def write(measured: pd.DataFrame, folder: Path) -> str:
    """``measured.csv``, a row per process; ``table.md``, which is returned; with scores ``pareto.png``."""
    text = render(measured)
    with atomic_path(folder / _ROWS) as partial:
        measured.to_csv(partial, index=False)
    with atomic_path(folder / "table.md") as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    if "score" in measured:
        save_picture(measured, folder / "pareto.png")
    return text


def log(folder: Path, measured: pd.DataFrame, tracking_uri: str) -> str:
    """A run of MLflow's experiment ``efficiency`` with a child for each candidate; its name."""
    import mlflow

    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment("efficiency")
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(folder))
        for _, line in summary(measured).iterrows():
            name = " ".join(str(line[key]) for key in ("network", "runtime", "precision"))
            with mlflow.start_run(run_name=name, nested=True):
                mlflow.log_params({key: line[key] for key in ("network", "runtime", "precision")})
                mlflow.log_metrics({key: float(line[key]) for key in _NUMBERS if key in line})
        return str(run.info.run_name)
