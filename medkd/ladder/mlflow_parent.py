"""The parent run of a ladder in MLflow: its parameters, its table, its plot, and what they come to in words."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medkd.handlers.tracking_client import WholeCalls, experiment_id

__all__ = ["ParentRun", "start", "tracking_uri", "where_to_look"]


class ParentRun:
    """A run of its own that others name as their parent."""

    def __init__(self, client: Any, run_id: str) -> None:
        self.client = WholeCalls(client)
        self.run_id = run_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log what the run does not have yet."""
        known = self.client.get_run(self.run_id).data.params
        for key, value in ((key.replace("#", "."), value) for key, value in params.items()):
            if key not in known:
                self.client.log_param(self.run_id, key, str(value)[:500])

    def finish(self, metrics: Mapping[str, float], artifacts: list[Path], *, note: str) -> None:
        """Log the results and close the run; the note, Markdown, is its description in MLflow's pages."""
        for name, value in metrics.items():
            self.client.log_metric(self.run_id, name, value)
        for path in artifacts:
            self.client.log_artifact(self.run_id, str(path))
        self.client.set_tag(self.run_id, "mlflow.note.content", note)
        self.end("FINISHED")

    def end(self, status: str) -> None:
        """Close the run: ``FINISHED``, ``FAILED``, or ``KILLED`` where it was stopped."""
        self.client.set_terminated(self.run_id, status)


def start(root: Path, tracking_uri: str, experiment: str, name: str) -> ParentRun:
    """Open the parent run of a ladder, or the one that an earlier call opened.

    Args:
        root: the ladder's folder; the run's id is kept in it.
        tracking_uri: the MLflow store.
        experiment: the experiment's name; it is made if it does not exist.
        name: the bundle's name.
    """
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=tracking_uri)
    kept = root / "parent_run.txt"
    if kept.is_file():
        run_id = kept.read_text(encoding="ascii").strip()
        client.update_run(run_id, status="RUNNING")
        return ParentRun(client, run_id)
    tags = {"medkd.kind": "ladder"}
    run = client.create_run(experiment_id(client, experiment), run_name=f"ladder-{name}", tags=tags)
    kept.write_text(run.info.run_id, encoding="ascii")
    return ParentRun(client, run.info.run_id)


def tracking_uri(root: Path) -> str:
    """Of the store of a ladder's runs: ``MLFLOW_TRACKING_URI``, or a SQLite file in its folder."""
    from monai.utils import path_to_sqlite_uri

    return os.environ.get("MLFLOW_TRACKING_URI") or str(path_to_sqlite_uri(str(root / "mlruns.db")))


def where_to_look(root: Path) -> tuple[str, str]:
    """The command that serves a ladder's runs, empty if a server has them, and the address of their list.

    The command is one process beside the server's own, the address that of the pages for trainings: MLflow starts
    more, and opens with those for chat models.
    """
    from mlflow import MlflowClient

    uri = tracking_uri(root)
    run = MlflowClient(uri).get_run((root / "parent_run.txt").read_text(encoding="ascii").strip())
    page = f"#/experiments/{run.info.experiment_id}/runs?workflowType=machine_learning"
    if uri.startswith("http"):
        return "", f"{uri.rstrip('/')}/{page}"
    program = Path(sys.executable).parent / "mlflow"
    command = f"MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false {program} ui --workers 1 --backend-store-uri {uri}"
    return command, f"http://127.0.0.1:5000/{page}"
