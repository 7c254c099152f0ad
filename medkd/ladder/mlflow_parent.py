"""The parent run of a ladder in MLflow: its parameters, its table, its plot, and what they come to in words."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags

from medkd.files import atomic_path
from medkd.handlers.ladder_runs import LADDER_TAGS, tell_parent
from medkd.handlers.offline_store import named, store_file, store_uri
from medkd.handlers.tracking_client import WholeCalls, experiment_id, fallback_client, wait_less
from medkd.runs import run_name, sqlite_uri

__all__ = ["ParentRun", "start", "tracking_uri", "where_to_look"]


class ParentRun:
    """A run of its own that others name as their parent."""

    def __init__(self, client: Any, run_id: str, name: str, root: Path) -> None:
        self.client, self.root = WholeCalls(client), root
        self.run_id, self.name = run_id, name
        self.tell()

    def tell(self) -> None:
        """Children that begin from now on name it by its present identifier, which is another once the server is lost."""
        self.run_id = str(self.client.get_run(self.run_id).info.run_id)
        tell_parent(self.run_id, self.name)
        with atomic_path(self.root / "parent_run.txt") as kept:
            kept.write_text(self.run_id, encoding="ascii")

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log what the run does not have yet."""
        known = self.client.get_run(self.run_id).data.params
        for key, value in ((key.replace("#", "."), value) for key, value in params.items()):
            if key not in known:
                self.client.log_param(self.run_id, key, str(value)[:500])

    def finish(self, metrics: Mapping[str, float], artifacts: list[Path], *, note: str) -> None:
        """Log the results and close the run; the note, Markdown, is its description in MLflow's pages."""
        now = int(time.time() * 1000)
        for name, value in metrics.items():
            self.client.log_metric(self.run_id, name, value, now)
        for path in artifacts:
            self.client.log_artifact(self.run_id, str(path))
        self.client.set_tag(self.run_id, "mlflow.note.content", note)
        self.end("FINISHED")

    def end(self, status: str) -> None:
        """Close the run: ``FINISHED``, ``FAILED``, or ``KILLED`` where it was stopped."""
        self.client.set_terminated(self.run_id, status)
        self.tell()


def start(root: Path, tracking_uri: str, experiment: str, name: str) -> ParentRun:
    """Open the parent run of a ladder, or the one that an earlier call opened; in a local store if the server is away.

    Args:
        root: the ladder's folder; the run's name and its present id are kept in it.
        tracking_uri: the MLflow store.
        experiment: the experiment's name; it is made if it does not exist.
        name: the bundle's name.
    """
    client: Any = MlflowClient(tracking_uri=tracking_uri)
    _give_name(root, client, name)
    unique = run_name(str(root), prefix=f"ladder-{name}", resume=True)
    if tracking_uri.startswith("http"):
        client = fallback_client(client, root, run=unique)
    place = experiment_id(client, experiment)
    found = client.search_runs([place], named(unique), max_results=1)
    if found:
        run = client.get_run(found[0].info.run_id)
        client.update_run(run.info.run_id, status="RUNNING")
    else:
        run = client.create_run(place, tags={**resolve_tags(), **LADDER_TAGS}, run_name=unique)
    return ParentRun(client, run.info.run_id, unique, root)


def _give_name(root: Path, client: Any, bundle: str) -> None:
    """A unique one to the run of a ladder that an earlier version began, with the ending that its children's names have."""
    kept, names = root / "parent_run.txt", root / "run_name.txt"
    if names.is_file() or not kept.is_file():
        return
    run_id = kept.read_text(encoding="ascii").strip()
    name = f"ladder-{bundle}-{run_id[:6]}"
    wait_less()
    with contextlib.suppress(MlflowException):  # of another store, or of a server that is away
        client.update_run(run_id, name=name)
    with atomic_path(names) as partial:
        partial.write_text(f"{name}\n", encoding="utf-8")


def tracking_uri(root: Path) -> str:
    """Of the store of a ladder's runs: ``MLFLOW_TRACKING_URI``, or a SQLite file in its folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(root / "mlruns.db")


def where_to_look(root: Path) -> tuple[str, str]:
    """The command that serves a ladder's runs, empty if a server has them, and the address of their list.

    The command is one process beside the server's own, the address that of the pages for trainings: MLflow starts
    more, opens with those for chat models, and reports its use.
    """
    uri, run = _parent(root)
    page = f"#/experiments/{run.info.experiment_id}/runs?workflowType=machine_learning"
    if uri.startswith("http"):
        return "", f"{uri.rstrip('/')}/{page}"
    program = Path(sys.executable).parent / "mlflow"
    quiet = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true"
    command = f"{quiet} {shlex.quote(str(program))} ui --workers 1 --backend-store-uri {shlex.quote(uri)}"
    return command, f"http://127.0.0.1:5000/{page}"


def _parent(root: Path) -> tuple[str, Any]:
    """The store that a ladder ended in, and its run there."""
    run_id = (root / "parent_run.txt").read_text(encoding="ascii").strip()
    if store_file(root).is_file():
        offline = store_uri(root)
        try:
            return offline, MlflowClient(offline).get_run(run_id)
        except MlflowException:  # the server was back
            pass
    uri = tracking_uri(root)
    return uri, MlflowClient(uri).get_run(run_id)
