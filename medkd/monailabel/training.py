"""Trainings that a MONAI Label server starts."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path
from typing import Any

from monailabel.tasks.train.bundle import BundleTrainTask
from monailabel.utils.others.generic import strtobool

from medkd.monailabel.promotion import POLICIES, compare
from medkd.serving import keep_student
from medkd.serving.versions import decide, last_decision, serve, served

__all__ = ["DistillationTrainTask"]

_logger = logging.getLogger(__name__)


class DistillationTrainTask(BundleTrainTask):  # type: ignore[misc] # the server is not installed where medkd is checked
    """The bundle's own training, tracked by its own ``tracking.yaml``, whose student becomes a version of its own.

    A run tracked in MLflow gets that file: parameters, pictures, and a run that goes on where the server cannot be
    reached. ``pretrained: false`` starts from fresh weights; the stock task of 0.8.5 fails there. A training that is stopped
    or fails changes nothing.

    Args:
        place: ``APP/model/NAME``, which leads to the version that is served.
        conf: of the server; ``promote`` says which student is served after a training (``medkd.monailabel.promotion``), and
            ``anonymous_cases false`` gives MLflow the paths of images.

    Raises:
        ValueError: for another ``promote``.
    """

    def __init__(self, place: Path, conf: dict[str, str]) -> None:
        self.place, self.policy = place, conf.get("promote", "better")
        if self.policy not in POLICIES:
            raise ValueError(f"--conf promote: expected {', '.join(POLICIES)}, found {self.policy}")
        super().__init__(str(place.resolve()), conf, enable_tracking=True)

    def info(self) -> dict[str, Any]:
        """As the stock task, with the version that is served and what was decided on the last training's student."""
        present = served(self.place).name if self.place.is_symlink() else None
        return {**super().info(), "served": present, "promotion": last_decision(self.place)}

    def config(self) -> dict[str, Any]:
        """Options of a request: where a run is tracked, and which part of the bundle runs, is for the server to say."""
        options: dict[str, Any] = super().config()
        return {key: value for key, value in options.items() if key != "run_id" and not key.startswith("tracking")}

    def __call__(self, request: Any, datastore: Any) -> Any:
        """Train on the labelled studies, and serve the student if it is to be served.

        Raises:
            FileNotFoundError: for a bundle that was put into the app otherwise than by ``medkd deploy``.
        """
        served(self.place)
        self._trained.unlink(missing_ok=True)
        result = super().__call__(request, datastore)
        if self._trained.is_file():
            self._settle()
        return result

    def _settle(self) -> None:
        version = keep_student(self.place, self._trained)
        self._trained.unlink()
        decision = compare(served(self.place), version, self._validation, policy=self.policy)
        decide(version, decision)
        if decision["promoted"]:
            serve(self.place, version)
        _logger.info("%s: version %s: %s", self.place.name, version.name, decision)

    @property
    def _trained(self) -> Path:
        return Path(self.bundle_path) / "checkpoints" / "trained.pt"

    def _update_overrides(self, overrides: dict[str, Any]) -> dict[str, Any]:
        # MONAI appends its tracking handlers to the very list that it is given.
        overrides[self.const.key_train_handlers()] = list(overrides[self.const.key_train_handlers()])
        overrides["model_path"] = str(self._trained)
        overrides["fresh"] = (
            True  # of several GPUs it is a program of its own, which asks what to do with the saves before
        )
        overrides["anonymous_cases"] = strtobool(self.conf.get("anonymous_cases", "true"))
        if overrides.get("tracking") == "mlflow":
            overrides["tracking"] = self._tracking()
        if overrides.get("tracking", "").endswith(".yaml"):  # of a bundle of medkd; the app has versions of its own
            overrides["registered_as"] = None
        compared = (self.const.key_device(), self.const.key_validate_dataset_data())
        self._validation = {key: overrides[key] for key in compared if key in overrides}
        return overrides

    def _tracking(self) -> str:
        own = Path(self.bundle_path) / "configs" / "tracking.yaml"
        return str(own) if own.is_file() else "mlflow"

    def _run_command(self, cmd: list[str], env: dict[str, str]) -> None:
        """Of several GPUs; the stock task takes no notice of a failure."""
        if "--tracking" in cmd:
            cmd[cmd.index("--tracking") + 1] = self._tracking()
        subprocess.run(cmd, env=env, check=True)

    def _load_checkpoint(self, model_pytorch: str, pretrained: bool, train_handlers: list[Any]) -> None:
        if pretrained:
            super()._load_checkpoint(model_pytorch, pretrained, train_handlers)
            return
        # The list is that of the task, which an earlier request may have changed.
        train_handlers[:] = [h for h in train_handlers if h.get("_target_") != "CheckpointLoader"]
