"""Track a run in MLflow: what MONAI's handler does, and the parameters, tags and pictures that it leaves out."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from mlflow.entities import Param, RunTag
from monai.handlers import MLFlowHandler

from medkd.distributed import rank
from medkd.files import atomic_path
from medkd.handlers.anonymous import without_cases
from medkd.handlers.offline_store import named
from medkd.handlers.tracking_client import WholeCalls, fallback_client
from medkd.runs import names_before

__all__ = ["TrackingHandler", "flatten"]

_SKIPPED = ("_meta_", "imports", "initialize", "run", "finalize")
_LONGEST_PARAM = 500


class TrackingHandler(MLFlowHandler):
    """``MLFlowHandler`` that also logs flat parameters, tags, the learning rate and pictures.

    Of several processes the first alone tracks. Iterations are not logged: ``LossTerms`` averages every term over the epoch.

    Args:
        run: arguments that several handlers of one run share; their own take precedence.
        config_file: the executed configuration; every value in it becomes a parameter, ``train#trainer#max_epochs``
            as ``train.trainer.max_epochs``, and the handler that closes the run leaves the file there.
        tags: tags of the run; versions, git commit and the parent run (from ``MEDKD_PARENT_RUN``) are added.
        picture_dir: a folder whose PNG files are logged after every epoch: each once, and none that is older than the
            run, whose pictures an earlier one left there.
        anonymous_cases: log neither paths of images nor ``dataset_dir``: parameters and the configuration's file, of which a
            copy is left beside it, say ``case 1``, ``case 2``, … of each list.
        offline_dir: where a run goes on whose MLflow server cannot be reached (``fallback_client``); none: that is an error.
        scored: of an evaluation: the first part of its metrics' names (``test``: ``test/mean_dice`` instead of ``val_mean_dice``), so
            that they stand beside those of the training whose run it goes on with, and the name of its picture.
        table_dir: the folder whose CSV files an evaluation leaves in the run; those of single cases are kept back where cases
            are anonymous.
        learning_rate: the name that the learning rate is logged by; stages of one run, which count epochs alike, need two.
        kwargs: the arguments of ``monai.handlers.MLFlowHandler``. The run's name must be unique: a run of this name goes on,
            finished or not.
    """

    def __init__(
        self,
        *,
        run: Mapping[str, Any] | None = None,
        config_file: str | None = None,
        tags: Mapping[str, Any] | None = None,
        picture_dir: str | None = None,
        offline_dir: str | None = None,
        anonymous_cases: bool | None = None,
        scored: str | None = None,
        table_dir: str | None = None,
        learning_rate: str = "learning_rate",
        **kwargs: Any,
    ) -> None:
        self.learning_rate = learning_rate
        ours: dict[str, Any] = {"config_file": config_file, "tags": tags, "picture_dir": picture_dir}
        ours |= {
            "offline_dir": offline_dir,
            "anonymous_cases": anonymous_cases,
            "scored": scored,
            "table_dir": table_dir,
        }
        given = {name: value for name, value in ours.items() if value is not None}
        settings = {"iteration_log": False, **(run or {}), **given, **kwargs}
        own = {name: settings.pop(name, None) for name in ours}
        self.tracks = rank() == 0
        if not self.tracks:  # a client makes the store's tables, and two at once would fail
            return
        self.source, self.config_file = own["config_file"], own["config_file"]
        if self.source and own["anonymous_cases"]:
            self.config_file = str(Path(self.source).with_name(f"anonymous-{Path(self.source).name}"))
        if settings.get("close_on_complete"):
            settings.setdefault("artifacts", self.config_file)
        super().__init__(**settings)
        if own["offline_dir"] and str(self.client.tracking_uri).startswith("http"):
            self.client = fallback_client(self.client, own["offline_dir"], run=str(self.run_name))
        self.client: Any = WholeCalls(self.client)
        self.tags = dict(own["tags"] or {})
        self.picture_dir = Path(own["picture_dir"]) if own["picture_dir"] else None
        self.scored, self.anonymous = own["scored"], own["anonymous_cases"]
        self.table_dir = Path(own["table_dir"]) if self.scored and own["table_dir"] else None

    def attach(self, engine: Engine) -> None:
        """Register with a trainer or an evaluator."""
        if not self.tracks:
            return
        super().attach(engine)
        engine.add_event_handler(Events.EPOCH_STARTED, self._log_learning_rate)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    def start(self, engine: Engine) -> None:
        """Start or join the run of this name, which runs again then; log tags and parameters."""
        joins = self.cur_run is None
        known = self._join() if joins and self.run_name else not joins
        trained = self.scored and known
        super().start(engine)
        if joins:
            self._set_statuses()
        parent = os.environ.get("MEDKD_PARENT_RUN")
        tags = {**self.tags, **_versions(), **({"mlflow.parentRunId": parent} if parent else {})}
        self._log(tags=[RunTag(key, str(value)) for key, value in tags.items()])
        if self.source and Path(self.source).is_file():
            config = self._config()
            if not trained:  # else those of the training are there
                self._log_new_params(config)

    def _join(self) -> bool:
        """Whether there is a run of this name, or it had to be made; MONAI's handler passes over those that have ended, and reads every run."""
        self._set_experiment()  # type: ignore[no-untyped-call]
        experiment: Any = self.experiment
        place, name = experiment.experiment_id, str(self.run_name)
        found = self.client.search_runs([place], named(name), max_results=1)
        self.cur_run = (
            self.client.get_run(found[0].info.run_id) if found else self.client.create_run(place, run_name=name)
        )
        return bool(found)

    def complete(self) -> None:
        """Leave artefacts in the run, and of an evaluation its tables."""
        super().complete()
        if self.table_dir is not None:
            for path in sorted(self.table_dir.glob("summary.csv" if self.anonymous else "*.csv")):
                self.client.log_artifact(self._run_id, str(path), self.scored)

    def _log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        if self.scored:
            metrics = {f"{self.scored}/{name.removeprefix('val_')}": value for name, value in metrics.items()}
        super()._log_metrics(metrics, step)

    def _config(self) -> dict[str, Any]:
        """The executed configuration as it is to be logged; without cases, it is written to a file of its own."""
        config: dict[str, Any] = json.loads(Path(self.source).read_text(encoding="utf-8"))
        if self.config_file != self.source:
            config = without_cases(config)
            with atomic_path(self.config_file) as partial:
                partial.write_text(json.dumps(config, indent=2), encoding="utf-8")
        return config

    def epoch_completed(self, engine: Engine) -> None:
        """Log the epoch's metrics and new pictures."""
        super().epoch_completed(engine)
        for picture in self._new_pictures():
            self.client.log_artifact(self._run_id, str(picture), "overlays")

    def _new_pictures(self) -> list[Path]:
        """This run's pictures that its store does not have; the store is asked, for a resumed run may have some."""
        if self.picture_dir is None:
            return []
        if self.scored:
            return list(self.picture_dir.glob(f"{self.scored}.png"))
        run: Any = self.cur_run
        logged = {Path(item.path).name for item in self.client.list_artifacts(self._run_id, "overlays")}
        pictures = sorted(self.picture_dir.glob("*.png"))
        return [p for p in pictures if p.name not in logged and p.stat().st_mtime * 1000 >= run.info.start_time]

    def _log_learning_rate(self, engine: Engine) -> None:
        """The rate the epoch is trained with: at its end a scheduler has already set the next."""
        optimizer = getattr(engine, "optimizer", None)
        if optimizer is not None:
            self._log_metrics({self.learning_rate: optimizer.param_groups[0]["lr"]}, step=engine.state.epoch)

    def _log_new_params(self, config: Mapping[str, Any]) -> None:
        """Log what the run does not have yet: a resumed run keeps the parameters it started with."""
        known = self.client.get_run(self._run_id).data.params
        flat = {key: value for key, value in flatten(config) if key.split(".")[0] not in _SKIPPED and key not in known}
        params = [Param(key[:250], str(value)[:_LONGEST_PARAM]) for key, value in flat.items()]
        for start in range(0, len(params), 100):  # MLflow takes 100 at a time
            self._log(params=params[start : start + 100])

    @property
    def _run_id(self) -> str:
        run: Any = self.cur_run
        return str(run.info.run_id)

    def _log(self, **what: Any) -> None:
        self.client.log_batch(self._run_id, **what)

    def _set_statuses(self) -> None:
        """This run's, after a stop, and those of runs before it in the same folder, which nobody could mark when they ended."""
        run: Any = self.cur_run
        if run.info.status != "RUNNING":
            self.client.update_run(self._run_id, status="RUNNING")
            self.cur_run = self.client.get_run(self._run_id)
        experiment: Any = self.experiment
        for name in names_before(str(self.run_name)):
            running = f"{named(name)} and attributes.status = 'RUNNING'"
            for other in self.client.search_runs([experiment.experiment_id], running):
                self.client.set_terminated(other.info.run_id, "KILLED")

    def _fail(self, engine: Engine, error: BaseException) -> None:
        """Mark the run as failed, or as stopped; ignite leaves it to such a handler to raise the error again."""
        if self.cur_run:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            self.client.set_terminated(self.cur_run.info.run_id, status)
        raise error


def flatten(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings and lists, keys joined by points; short lists of numbers count as leaves."""
    if isinstance(config, Mapping):
        children = list(config.items())
    elif isinstance(config, list) and any(isinstance(value, (Mapping, list)) for value in config):
        children = list(enumerate(config))
    else:
        yield prefix, config
        return
    for key, value in children:
        yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))


def _versions() -> dict[str, str]:
    """Versions of what computes, and the git commit of the folder the run was started in."""
    versions = {f"version.{name}": metadata.version(name) for name in ("medkd", "monai", "torch", "pytorch-ignite")}
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return {**versions, "version.python": platform.python_version()}
    return {**versions, "version.python": platform.python_version(), "git_commit": commit.stdout.strip()}
