"""An MLflow client that a lost server does not stop: the run goes on in a local store, whole."""

from __future__ import annotations

import logging
import os
import re
import time
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import requests
from mlflow import MlflowClient
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.engine import make_url

from medkd.handlers.ladder_runs import LADDER_TAGS, ladder_dir, parent_name, said_away, say_away
from medkd.handlers.offline_store import experiment_of, open_store, run_of, store_uri
from medkd.program import uninterrupted

__all__ = ["FallbackClient", "WholeCalls", "experiment_id", "fallback_client", "unreachable", "wait_less"]

_logger = logging.getLogger(__name__)
_WRITES = ("log_", "set_", "update_", "delete_")
_NOT_AGAIN = {"log_outputs"}  # names a model, which the server has
# Whose first argument is an experiment, or several.
_OF_EXPERIMENTS = {"create_run", "search_runs", "get_experiment", "create_logged_model", "search_logged_models"}


class WholeCalls:
    """An ``MlflowClient`` none of whose calls a stop of the program interrupts: it waits until the call is over."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return partial(self._call, found) if callable(found) else found

    def _call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        with uninterrupted():
            return function(*args, **kwargs)


def experiment_id(client: MlflowClient, name: str) -> str:
    """Of an experiment, which is made if there is none; artefacts cannot live in a database: in ``mlruns`` beside its file."""
    found = client.get_experiment_by_name(name)
    if found:
        return str(found.experiment_id)
    uri = str(client.tracking_uri)
    # The file that is opened, however its address is quoted.
    database = make_url(uri).database if uri.startswith("sqlite:") else None
    place = (Path(database).resolve().parent / "mlruns").as_uri() if database else None
    return str(client.create_experiment(name, artifact_location=place))


class FallbackClient:
    """Calls an ``MlflowClient``; from the moment its server cannot be reached, a local one.

    What was written to the run before is written there too, with the times it was written at, so that the local run is a whole
    one; the server's ends in the middle, until ``medkd tracking sync`` completes it. A warning says where it is. What the
    server refuses is an error, as ever.

    Within a ladder (``within_ladder``) the folder is the ladder's, the runs' parent is there too, and no second run waits
    for a server that one found away.

    Args:
        client: of the server.
        folder: for ``mlruns-offline.db`` and the artefacts.

    Attributes:
        offline: whether the server is lost.
    """

    def __init__(self, client: MlflowClient, folder: str | Path) -> None:
        wait_less()
        self._client, self._folder = client, Path(folder).resolve()
        self._server = str(client.tracking_uri)
        self.offline = False
        self._experiment: str | None = None
        self._experiment_id: str | None = None
        self._run: Any = None
        self._written: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._local: dict[str, str] = {}  # the server's identifiers of runs, and the local ones
        self._local_experiment: str | None = None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return partial(self._call, name) if callable(found) else found

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "get_experiment_by_name":
            self._experiment = str(args[0])
        if name == "log_metric" and len(args) < 4:  # else the copy would have a time of its own, and be another point
            kwargs.setdefault("timestamp", int(time.time() * 1000))
        if not self.offline and said_away(self._server):
            self._go_offline("another run of the ladder found it away")
        try:
            result = self._do(name, args, kwargs)
        except (MlflowException, requests.RequestException, OSError) as error:
            if self.offline or not unreachable(error):
                raise
            self._go_offline(error)
            result = self._do(name, args, kwargs)
        if not self.offline:
            self._remember(name, args, kwargs, result)
        return result

    def _do(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.offline and name == "create_experiment":
            return experiment_of(self._client, self._folder, args[0])
        if self.offline:
            args, kwargs = tuple(map(self._here, args)), {key: self._here(value) for key, value in kwargs.items()}
            if name in _OF_EXPERIMENTS and args:
                args = (self._experiment_here(args[0]), *args[1:])
            if "experiment_id" in kwargs:
                kwargs["experiment_id"] = self._experiment_here(kwargs["experiment_id"])
        return getattr(self._client, name)(*args, **kwargs)

    def _experiment_here(self, value: Any) -> Any:
        """An experiment's identifier is a small number, which as a parameter's value means something else."""
        if isinstance(value, list):
            return [self._experiment_here(item) for item in value]
        return self._local_experiment if self._local_experiment and value == self._experiment_id else value

    def _here(self, value: Any) -> Any:
        """An argument, with the local identifiers of runs."""
        if isinstance(value, (list, tuple)):
            return [self._here(item) for item in value]
        if isinstance(value, RunTag) and value.key == "mlflow.parentRunId":
            return RunTag(value.key, self._parent(value.value))
        return self._local.get(value, value) if isinstance(value, str) else value

    def _parent(self, run_id: str) -> str:
        """The local identifier of the ladder's run, which is made if no process of the ladder has done so."""
        name = parent_name(run_id)
        if name and self._experiment and run_id not in self._local:
            experiment = experiment_of(self._client, self._folder, self._experiment)
            run = run_of(self._client, self._folder, experiment, name, tags=LADDER_TAGS)
            self._local[run_id] = str(run.info.run_id)
        return self._local.get(run_id, run_id)

    def _remember(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        ids = (*args[:1], kwargs.get("run_id"))  # what another run is told, which ended long ago, is not written again
        if name == "get_experiment_by_name" and result is not None:
            self._experiment_id = result.experiment_id
        elif name == "create_experiment":
            self._experiment, self._experiment_id = str(args[0]), result
        elif name in {"create_run", "get_run"} and self._run is None:
            self._run = result
        elif self._run and name.startswith(_WRITES) and name not in _NOT_AGAIN and self._run.info.run_id in ids:
            self._written.append((name, args, kwargs))

    def _go_offline(self, why: object) -> None:
        _logger.warning(
            "MLflow cannot be reached (%s); the run goes on in %s. When it is back: medkd tracking sync %s",
            *(why, store_uri(self._folder), self._folder),
        )
        self._client, self.offline = open_store(self._folder), True
        say_away(self._server)
        if self._experiment_id is None or self._experiment is None:
            return
        local = experiment_of(self._client, self._folder, self._experiment)
        self._local_experiment = local
        if self._run is None:
            return
        info, tags = self._run.info, {key: self._tag(key, value) for key, value in self._run.data.tags.items()}
        run = run_of(self._client, self._folder, local, info.run_name, tags=tags, start_time=info.start_time)
        self._local[info.run_id] = str(run.info.run_id)
        for written in self._written:
            self._do(*written)

    def _tag(self, key: str, value: str) -> str:
        return self._parent(value) if key == "mlflow.parentRunId" else value


_clients: weakref.WeakValueDictionary[tuple[str, ...], FallbackClient] = weakref.WeakValueDictionary()


def fallback_client(client: MlflowClient, folder: str | Path, *, run: str) -> FallbackClient:
    """The one client of a run: its handlers write in turn, and leave the server together; who comes later asks it again.

    Args:
        client: of the server.
        folder: of the local store; within a ladder that is the ladder's.
        run: what tells it from other runs of this process.
    """
    folder = Path(ladder_dir() or folder).resolve()
    key = (str(client.tracking_uri), str(folder), run)
    shared = _clients.get(key)
    if shared is None or shared.offline:
        _clients[key] = shared = FallbackClient(client, folder)
    return shared


def wait_less() -> None:
    """For a server that does not answer some 30 seconds, for one that refuses 5: MLflow's own seven tries take 247."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "8")  # seconds


def unreachable(error: Exception) -> bool:
    """Whether it is the connection that failed; a refused request would be refused again."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return bool(error.response.status_code >= 500)
    if isinstance(error, (requests.RequestException, ConnectionError)):
        return True
    return isinstance(error, MlflowException) and bool(re.search(r"failed with (timeout )?exception", str(error)))
