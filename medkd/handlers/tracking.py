"""Track a run in MLflow: what MONAI's handler does, and the parameters, tags and pictures that it leaves out."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from mlflow.entities import RunTag
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from monai.handlers import MLFlowHandler

from medkd.distributed import rank
from medkd.handlers.executed_config import ExecutedConfig
from medkd.handlers.identified import Identified
from medkd.handlers.offline_store import named
from medkd.handlers.surroundings import versions
from medkd.handlers.tracking_client import WholeCalls, fallback_client
from medkd.program import message
from medkd.runs import names_before

__all__ = ["TrackingHandler"]

_logger = logging.getLogger(__name__)


class TrackingHandler(MLFlowHandler):
    """``MLFlowHandler`` that also logs flat parameters, tags, the learning rate and pictures.

    Of several processes the first alone tracks. Iterations are not logged: ``LossTerms`` averages every term over the epoch.

    Args:
        run: arguments that several handlers share, among them another ``run``; a handler's own take precedence.
        config_file: the executed configuration. The settings at its top level become parameters, with the values that the run
            works with (``network_def#backbone`` as ``network_def.backbone``); the handler that closes the run leaves the whole in
            it at its start, as ``train.json``, by ``prefix``.
        tags: tags of the run; versions, git commit and the parent run (from ``MEDKD_PARENT_RUN``) are added.
        picture_dir: a folder whose PNG files are logged after every epoch: each once, and none that is older than the
            run, whose pictures an earlier one left there; of an evaluation the one that is called like ``prefix``.
        anonymous_cases: log neither paths of images nor ``dataset_dir``: parameters and the configuration say ``case 1``,
            ``case 2``, … of each list.
        offline_dir: where a run goes on whose MLflow server cannot be reached (``fallback_client``); none: that is an error.
        prefix: the first part of the metrics' names: ``val`` makes ``val/mean_dice`` of ``val_mean_dice``, ``train`` makes
            ``train/loss`` of ``train_loss``; with ``val`` those of the kept network are ``kept/mean_dice``, …, too. An evaluation has
            another one (``test``), so that its scores stand beside those of the training whose run it goes on with.
        table_dir: of an evaluation: the folder whose CSV files it leaves in the run; those of single cases are kept back where
            cases are anonymous.
        system_metrics: log what the machine does (``system/cpu_utilization_percentage``, …) every ten seconds.
        identity: arguments of ``medkd.handlers.identified.Identified``: what tells by its bytes what the run was made of, and
            makes an MLflow model of its student.
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
        prefix: str | None = None,
        table_dir: str | None = None,
        system_metrics: bool | None = None,
        identity: Mapping[str, Any] | None = None,
        learning_rate: str = "learning_rate",
        **kwargs: Any,
    ) -> None:
        self.learning_rate = learning_rate
        ours: dict[str, Any] = {
            "config_file": config_file,
            "tags": tags,
            "picture_dir": picture_dir,
            "offline_dir": offline_dir,
            "anonymous_cases": anonymous_cases,
            "prefix": prefix,
            "table_dir": table_dir,
            "system_metrics": system_metrics,
            "identity": identity,
        }
        given = {name: value for name, value in ours.items() if value is not None}
        settings = {"iteration_log": False, **_shared(run or {}), **given, **kwargs}
        own = {name: settings.pop(name, None) for name in ours}
        self.tracks = rank() == 0
        if not self.tracks:  # a client makes the store's tables, and two at once would fail
            return
        super().__init__(**settings)
        if own["offline_dir"] and str(self.client.tracking_uri).startswith("http"):
            self.client = fallback_client(self.client, own["offline_dir"], run=str(self.run_name))
        self.client: Any = WholeCalls(self.client)
        self.prefix, self.anonymous = own["prefix"], bool(own["anonymous_cases"])
        self.config = ExecutedConfig(own["config_file"], self.anonymous)
        self.tags = dict(own["tags"] or {})
        self.picture_dir = Path(own["picture_dir"]) if own["picture_dir"] else None
        self.table_dir = Path(own["table_dir"]) if own["table_dir"] else None
        self.system_metrics = own["system_metrics"]
        self.identified = Identified(**own["identity"]) if own["identity"] else None
        self._monitor: Any = None

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
        trained = self.table_dir is not None and known
        super().start(engine)
        if joins:
            self._set_statuses()
        parent = os.environ.get("MEDKD_PARENT_RUN")
        tags = {**self.tags, **versions(), **({"mlflow.parentRunId": parent} if parent else {})}
        self._log(tags=[RunTag(key, str(value)) for key, value in tags.items()])
        if not trained:  # else those of the training are there
            self._log_new_params()
        if self.close_on_complete:
            self.config.leave(self.client, self._run_id, self.prefix or "run")
            self._watch()
        if self.identified and joins:
            self.identified.begin(
                self.client,
                self._run_id,
                config_file=self.config.source,
                scored=self._scored,
                closes=self.close_on_complete,
                anonymous=self.anonymous,
            )

    @property
    def _scored(self) -> str | None:
        """What an evaluation's metrics are called."""
        return self.prefix if self.table_dir is not None else None

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
                self.client.log_artifact(self._run_id, str(path), self.prefix)
        if self.identified and self.close_on_complete:
            self.identified.end(self.client, self._run_id, scored=self._scored, anonymous=self.anonymous)

    def close(self) -> None:
        """End the run."""
        self._unwatch()
        super().close()

    def _watch(self) -> None:
        if self.system_metrics:
            uri = str(self.client.tracking_uri)
            self._monitor = SystemMetricsMonitor(self._run_id, resume_logging=True, tracking_uri=uri)
            self._monitor.start()

    def _unwatch(self) -> None:
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None

    def _log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        if self.prefix:
            metrics = {f"{self.prefix}/{re.sub('^(train|val)_', '', name)}": value for name, value in metrics.items()}
        super()._log_metrics(metrics, step)

    def epoch_completed(self, engine: Engine) -> None:
        """Log the epoch's metrics, also as those of the kept network if it is the best so far, and new pictures."""
        super().epoch_completed(engine)
        state: Any = engine.state
        if self.prefix == "val" and getattr(state, "best_metric_epoch", None) == state.epoch:
            kept = {re.sub("^val_", "", name): value for name, value in state.metrics.items()}
            super()._log_metrics(
                {f"kept/{name}": value for name, value in {**kept, "epoch": state.epoch}.items()}, state.epoch
            )
        for picture in self._new_pictures():
            self.client.log_artifact(self._run_id, str(picture), "overlays")

    def _new_pictures(self) -> list[Path]:
        """This run's pictures that its store does not have; the store is asked, for a resumed run may have some."""
        if self.picture_dir is None:
            return []
        if self.table_dir is not None:
            return list(self.picture_dir.glob(f"{self.prefix}.png"))
        run: Any = self.cur_run
        logged = {Path(item.path).name for item in self.client.list_artifacts(self._run_id, "overlays")}
        pictures = sorted(self.picture_dir.glob("*.png"))
        return [p for p in pictures if p.name not in logged and p.stat().st_mtime * 1000 >= run.info.start_time]

    def _log_learning_rate(self, engine: Engine) -> None:
        """The rate the epoch is trained with: at its end a scheduler has already set the next."""
        optimizer = getattr(engine, "optimizer", None)
        if optimizer is not None:
            super()._log_metrics({self.learning_rate: optimizer.param_groups[0]["lr"]}, step=engine.state.epoch)

    def _log_new_params(self) -> None:
        """Log what the run does not have yet: a resumed run keeps the parameters it started with."""
        params = self.config.parameters(self.client.get_run(self._run_id).data.params)
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
        self._unwatch()
        if self.cur_run:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            try:
                self.client.set_terminated(self.cur_run.info.run_id, status)
            except Exception as unmarked:  # noqa: BLE001 - its store may be gone for the same reason, which is what to tell
                _logger.warning("The run could not be marked as %s: %s", status, message(unmarked))
        raise error


def _shared(run: Mapping[str, Any]) -> dict[str, Any]:
    """With what it shares itself with others."""
    own = {name: value for name, value in run.items() if name != "run"}
    return {**(_shared(run["run"]) if "run" in run else {}), **own}
