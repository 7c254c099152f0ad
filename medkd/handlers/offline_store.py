"""The local MLflow store of runs whose server is away: found by name, opened by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from medkd.runs import sqlite_uri

__all__ = ["artifact_dir", "experiment_of", "in_use", "named", "open_store", "run_of", "store_file", "store_uri"]

_FILE, _FOLDER = "mlruns-offline.db", "mlruns-offline"
_users: dict[
    Path, int
] = {}  # this process's locks of stores, which the system takes away when it ends, however it does


def store_file(folder: str | Path) -> Path:
    """A folder's local store, ``mlruns-offline.db``, whether there is one or not."""
    return Path(folder).resolve() / _FILE


def store_uri(folder: str | Path) -> str:
    """The address of a folder's local store, whether there is one or not."""
    return sqlite_uri(store_file(folder))


def artifact_dir(folder: str | Path) -> Path:
    """Where a folder's local store keeps artefacts."""
    return Path(folder).resolve() / _FOLDER


def named(run_name: str) -> str:
    """MLflow's filter for runs of a name: the store looks, instead of giving every run."""
    quote = '"' if "'" in run_name else "'"
    return f"attributes.run_name = {quote}{run_name}{quote}"


def open_store(folder: str | Path) -> MlflowClient:
    """Open the local store of a folder, which is made if it is not there; it is in use until this process ends."""
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if folder not in _users:
        _users[folder] = os.open(folder / f".{_FOLDER}.used", os.O_RDWR | os.O_CREAT, 0o644)
        with contextlib.suppress(OSError):  # of a file system that knows no locks
            fcntl.flock(_users[folder], fcntl.LOCK_SH)
    with _alone(folder):  # a client makes the store's tables, and two at once would fail
        client = MlflowClient(store_uri(folder))
        client.search_experiments(max_results=1)
    return client


def in_use(folder: str | Path) -> bool:
    """Whether a process that writes to the local store still runs, or that cannot be known."""
    with (Path(folder) / f".{_FOLDER}.used").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def experiment_of(client: MlflowClient, folder: str | Path, name: str) -> str:
    """The local store's experiment of a name, made if there is none."""
    with _alone(Path(folder)):
        found = client.get_experiment_by_name(name)
        return str(found.experiment_id if found else client.create_experiment(name, artifact_dir(folder).as_uri()))


def run_of(
    client: MlflowClient,
    folder: str | Path,
    experiment: str,
    name: str,
    *,
    tags: Mapping[str, str],
    start_time: int | None = None,
) -> Any:
    """The local store's run of a name, made with these tags and this start (ms) if there is none."""
    with _alone(Path(folder)):
        found = client.search_runs([experiment], named(name), max_results=1)
        if found:
            return found[0]
        return client.create_run(experiment, start_time=start_time, tags=dict(tags), run_name=name)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Not while another process does the same: what is not there yet would be made twice."""
    with (folder / f".{_FOLDER}.lock").open("a") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file gives the lock back
