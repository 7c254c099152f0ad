"""Bring what runs left in their local store, while the MLflow server was away, to the server's runs of the same names."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from medkd.files import sha256
from medkd.handlers.offline_store import artifact_dir, in_use, named, store_file, store_uri
from medkd.handlers.tracking_client import unreachable, wait_less

__all__ = ["sync"]

Point = tuple[str, int, int, str]  # what MLflow tells points of a metric by; the value as text, for NaN is not NaN
_PARENT, _MODEL = "mlflow.parentRunId", "medkd.model_id"
_OWN_TAGS = {"mlflow.runName", "medkd.model_version", MLFLOW_MODEL_VERSIONS}  # a version is one of the local registry
_AT_ONCE = {"metrics": 1000, "params": 100, "tags": 100}  # MLflow takes no more


def sync(folder: str | Path, tracking_uri: str | None = None) -> Iterator[str]:
    """Complete the server's runs; what is there already is left as it is, so that it may be done again at any time.

    A run is that of the same name in the experiment of the same name; either is made if there is none. Added are metric points,
    parameters, tags, datasets, logged models and artefacts. The status and the end are those of the store that heard of
    the run last, and so are artefacts that differ. A run whose process vanished is ``KILLED`` at its last sign of life. The
    local store stays as it is.

    Args:
        folder: with ``mlruns-offline.db``: a training's ``eval``, or a ladder's folder.
        tracking_uri: of the server; ``MLFLOW_TRACKING_URI`` by default.

    Yields:
        A line for each run, when it is done.

    Raises:
        FileNotFoundError: if there is no local store.
        ValueError: if no server is named.
        ConnectionError: if it cannot be reached.
    """
    database = store_file(folder)
    if not database.is_file():
        raise FileNotFoundError(f"{database}: expected runs that went on without their server, found no such file")
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        raise ValueError("expected the server's address in --tracking_uri or MLFLOW_TRACKING_URI, found neither")
    wait_less()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    try:
        yield from _Copy(Path(folder), MlflowClient(uri)).lines()
    except (MlflowException, requests.RequestException, OSError) as error:
        if not unreachable(error):
            raise
        raise ConnectionError(f"{uri}: expected an MLflow server that answers, found none; sync again later") from error


class _Copy:
    """From the local store of a folder to a server."""

    def __init__(self, folder: Path, server: MlflowClient) -> None:
        self.folder, self.server = folder, server
        self.local = MlflowClient(store_uri(folder))
        self.in_use = in_use(folder)
        self.ids: dict[str, str] = {}  # of local runs and models: the server's

    def lines(self) -> Iterator[str]:
        for experiment in self.local.search_experiments():
            runs = list(_all(self.local, experiment.experiment_id))
            if runs:
                found = self.server.get_experiment_by_name(experiment.name)
                place = found.experiment_id if found else self.server.create_experiment(experiment.name)
                for run in sorted(runs, key=lambda run: (_PARENT in run.data.tags, run.info.start_time)):
                    yield f"{run.info.run_name}: {self.run(run, place)}"

    def run(self, run: Any, place: str) -> str:
        """Complete one, or make it; what was done, in words."""
        found = self.server.search_runs([place], named(run.info.run_name), max_results=1)
        there = found[0] if found else self._made(run, place)
        here_id, there_id = run.info.run_id, there.info.run_id
        self.ids[here_id] = there_id
        here, known = _points(self.local, run), _points(self.server, there)
        last, heard = _last(run, here), _last(there, known)
        done = {
            "metric point": self._log(there_id, metrics=[here[point] for point in sorted(here.keys() - known.keys())]),
            "parameter": self._log(
                there_id, params=[Param(*item) for item in _new(run.data.params, there.data.params)]
            ),
            "dataset": self._datasets(here_id, there_id),
            "model": self._models(run, there),
            "artefact": self._artefacts(run, there, newer=last >= heard),
        }  # a model's tag is the last of it
        tags = [RunTag(key, self.ids.get(value, value)) for key, value in _new(run.data.tags, there.data.tags)]
        done["tag"] = self._log(there_id, tags=tags)
        added = ", ".join(f"{number} {what}{'s' * (number > 1)}" for what, number in done.items() if number)
        return f"{'made' if not found else 'found'}; {f'added {added}' if added else 'nothing to add'}; " + self._end(
            run, there, last, heard
        )

    def _made(self, run: Any, place: str) -> Any:
        user = {key: value for key, value in run.data.tags.items() if key == "mlflow.user"}
        return self.server.create_run(place, start_time=run.info.start_time, tags=user, run_name=run.info.run_name)

    def _log(self, run_id: str, **what: Sequence[Any]) -> int:
        ((kind, items),) = what.items()
        for start in range(0, len(items), _AT_ONCE[kind]):
            self.server.log_batch(run_id, **{kind: items[start : start + _AT_ONCE[kind]]})
        return len(items)

    def _datasets(self, here: str, there: str) -> int:
        """Add those of other names and digests, by which MLflow tells datasets."""

        def of(client: MlflowClient, run_id: str) -> dict[tuple[str, str], Any]:
            inputs = client.get_run(run_id).inputs
            datasets = inputs.dataset_inputs if inputs else []
            return {(item.dataset.name, item.dataset.digest): item for item in datasets}

        known = of(self.server, there)
        missing = [item for key, item in of(self.local, here).items() if key not in known]
        if missing:
            self.server.log_inputs(there, datasets=missing)
        return len(missing)

    def _models(self, run: Any, there: Any) -> int:
        """Add those of other names or contents (their tag ``sha256``), and none that is half there."""

        def of(client: MlflowClient, of_run: Any) -> dict[tuple[str, str | None], Any]:
            own = f"source_run_id = '{of_run.info.run_id}'"
            found = client.search_logged_models([of_run.info.experiment_id], own)
            return {(item.name, item.tags.get("sha256")): item for item in found if str(item.status) == "READY"}

        known, added = of(self.server, there), 0
        for key, model in of(self.local, run).items():
            self.ids[model.model_id] = known[key].model_id if key in known else self._model(model, there)
            added += key not in known
        return added

    def _model(self, model: Any, there: Any) -> str:
        info, tags = there.info, dict(_new(model.tags, {}))
        made = self.server.create_logged_model(
            info.experiment_id, model.name, info.run_id, tags, model.params, model.model_type
        )
        files = artifact_dir(self.folder) / "models" / model.model_id / "artifacts"
        self.server.log_model_artifacts(made.model_id, str(files))
        self.server.finalize_logged_model(made.model_id, "READY")
        self.server.log_outputs(info.run_id, [LoggedModelOutput(made.model_id, step=0)])
        return str(made.model_id)

    def _artefacts(self, run: Any, there: Any, *, newer: bool) -> int:
        """Add those that are missing, and of those that differ the local ones if they are newer."""
        root = artifact_dir(self.folder) / run.info.run_id / "artifacts"  # also where the folder has been moved
        known, added = _sizes(self.server, there.info.run_id), 0
        for file in sorted(path for path in root.rglob("*") if path.is_file()):
            path = file.relative_to(root)
            if path.as_posix() in known and not (newer and self._differs(file, there, path.as_posix(), known)):
                continue
            place = path.parent.as_posix()
            self.server.log_artifact(there.info.run_id, str(file), None if place == "." else place)
            added += 1
        return added

    def _differs(self, file: Path, there: Any, path: str, sizes: Mapping[str, int | None]) -> bool:
        if sizes[path] is not None and sizes[path] != file.stat().st_size:
            return True
        with tempfile.TemporaryDirectory() as folder:  # a server tells sizes, and no digests
            return sha256(str(self.server.download_artifacts(there.info.run_id, path, folder))) != sha256(file)

    def _end(self, run: Any, there: Any, last: int, heard: int) -> str:
        """Set the status and the end, if the local store heard of the run last; the status."""
        ended = run.info.status in {"FINISHED", "FAILED", "KILLED"}
        if not ended and self.in_use:
            return "still running"
        status, end = (run.info.status, run.info.end_time) if ended else ("KILLED", last)
        if last < heard:  # it went on there
            return str(there.info.status)
        if (there.info.status, there.info.end_time) != (status, end):
            self.server.set_terminated(there.info.run_id, status, end)
        return str(status)


def _all(client: MlflowClient, experiment: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_runs([experiment], page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _points(client: MlflowClient, run: Any) -> dict[Point, Metric]:
    """Every point of every metric, one by one: a run's data have the last of each alone."""
    found = [point for key in run.data.metrics for point in client.get_metric_history(run.info.run_id, key)]
    return {(point.key, point.step, point.timestamp, repr(float(point.value))): point for point in found}


def _last(run: Any, points: Mapping[Point, Metric]) -> int:
    """When a store last heard of a run, in ms."""
    return max(int(run.info.start_time), int(run.info.end_time or 0), *(timestamp for _, _, timestamp, _ in points), 0)


def _new(here: Mapping[str, str], there: Mapping[str, str]) -> list[tuple[str, str]]:
    """What only the first has; what differs stays as it is there, where somebody may have changed it."""
    return [(key, value) for key, value in here.items() if key not in there and key not in _OWN_TAGS]


def _sizes(client: MlflowClient, run_id: str, folder: str | None = None) -> dict[str, int | None]:
    """Paths of a run's artefacts, and their sizes in bytes where the store tells them."""
    found: dict[str, int | None] = {}
    for item in client.list_artifacts(run_id, folder):
        found |= _sizes(client, run_id, item.path) if item.is_dir else {item.path: item.file_size}
    return found
