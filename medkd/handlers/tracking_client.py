"""An MLflow client that a lost server does not stop: the run goes on in a local store, whole."""

from __future__ import annotations

import logging
import os
import re
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from medkd.program import uninterrupted

__all__ = ["FallbackClient", "WholeCalls", "experiment_id", "fallback_client"]

_logger = logging.getLogger(__name__)
_WRITES = {"log_batch", "log_artifact", "log_inputs", "set_tag", "set_terminated", "update_run"}


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
    scheme, _, database = str(client.tracking_uri).partition(":///")
    place = (Path(database).resolve().parent / "mlruns").as_uri() if scheme == "sqlite" else None
    return str(client.create_experiment(name, artifact_location=place))


class FallbackClient:
    """Calls an ``MlflowClient``; from the moment its server cannot be reached, a local one.

    What was written to the run before is written there too, so that the local run is a whole one; the server's ends in
    the middle. A warning says where it is. What the server refuses is an error, as ever.

    Args:
        client: of the server.
        folder: for ``mlruns-offline.db`` and the artefacts.
    """

    def __init__(self, client: MlflowClient, folder: str | Path) -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # MLflow's own seven take minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")  # seconds
        self._client, self._folder = client, Path(folder).resolve()
        self._offline = False
        self._experiment: str | None = None
        self._experiment_id: str | None = None
        self._run: Any = None
        self._written: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._local: dict[str, str] = {}  # the server's identifiers of experiment and run, and the local ones

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return partial(self._call, name) if callable(found) else found

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "get_experiment_by_name":
            self._experiment = str(args[0])
        try:
            result = self._do(name, args, kwargs)
        except (MlflowException, requests.RequestException, OSError) as error:
            if self._offline or not _unreachable(error):
                raise
            self._go_offline(error)
            result = self._do(name, args, kwargs)
        if not self._offline:
            self._remember(name, args, kwargs, result)
        return result

    def _do(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def here(value: Any) -> Any:
            if isinstance(value, list):
                return [here(item) for item in value]
            return self._local.get(value, value) if isinstance(value, str) else value

        if self._offline and name == "create_experiment":
            return self._client.create_experiment(args[0], (self._folder / "mlruns-offline").as_uri())
        return getattr(self._client, name)(*map(here, args), **{key: here(value) for key, value in kwargs.items()})

    def _remember(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if name == "get_experiment_by_name" and result is not None:
            self._experiment_id = result.experiment_id
        elif name == "create_experiment":
            self._experiment_id = result
        elif name in {"create_run", "get_run"} and self._run is None:
            self._run = result
        elif name in _WRITES:
            self._written.append((name, args, kwargs))

    def _go_offline(self, error: Exception) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        uri = f"sqlite:///{self._folder / 'mlruns-offline.db'}"
        _logger.warning("MLflow cannot be reached (%s); the run goes on in %s.", error, uri)
        self._client, self._offline = MlflowClient(uri), True
        if self._experiment_id is None:
            return
        found = self._client.get_experiment_by_name(self._experiment)
        local = found.experiment_id if found else self._do("create_experiment", (self._experiment,), {})
        self._local[self._experiment_id] = str(local)
        if self._run is None:
            return
        run = self._client.create_run(local, run_name=self._run.info.run_name)
        self._local[self._run.info.run_id] = str(run.info.run_id)
        for written in self._written:
            self._do(*written)


_clients: weakref.WeakValueDictionary[tuple[str, ...], FallbackClient] = weakref.WeakValueDictionary()


def fallback_client(client: MlflowClient, folder: str | Path, *, run: str) -> FallbackClient:
    """The one client of a run: its handlers write in turn, and leave the server together.

    Args:
        client: of the server.
        folder: of the local store.
        run: what tells it from other runs of this process.
    """
    key = (str(client.tracking_uri), str(Path(folder).resolve()), run)
    shared = _clients.get(key)
    if shared is None:
        _clients[key] = shared = FallbackClient(client, folder)
    return shared


def _unreachable(error: Exception) -> bool:
    """Whether it is the connection that failed; a refused request would be refused again."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return bool(error.response.status_code >= 500)
    if isinstance(error, (requests.RequestException, ConnectionError)):
        return True
    return isinstance(error, MlflowException) and bool(re.search(r"failed with (timeout )?exception", str(error)))
