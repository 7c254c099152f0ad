"""Trainings that a MONAI Label server starts."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from monailabel.tasks.train.bundle import BundleTrainTask

__all__ = ["DistillationTrainTask"]


class DistillationTrainTask(BundleTrainTask):  # type: ignore[misc] # the server is not installed where medkd is checked
    """The bundle's own training, tracked by its own ``tracking.yaml``.

    A request for ``mlflow`` gets that file: parameters, pictures, and a run that goes on where the server cannot be
    reached. ``pretrained: false`` starts from fresh weights; the stock task of 0.8.5 fails there. The student is
    replaced when the training has come to its end, so that one that is stopped or fails changes nothing.
    """

    def config(self) -> dict[str, Any]:
        """Options of a request: where a run is tracked, and which part of the bundle runs, is for the server to say."""
        options: dict[str, Any] = super().config()
        return {key: value for key, value in options.items() if key != "run_id" and not key.startswith("tracking")}

    def __call__(self, request: Any, datastore: Any) -> Any:
        """Train on the labelled studies."""
        self._trained.unlink(missing_ok=True)
        result = super().__call__(request, datastore)
        if self._trained.is_file():
            self._trained.replace(Path(self.bundle_path) / "models" / "model.pt")
        return result

    @property
    def _trained(self) -> Path:
        return Path(self.bundle_path) / "checkpoints" / "trained.pt"

    def _update_overrides(self, overrides: dict[str, Any]) -> dict[str, Any]:
        # MONAI appends its tracking handlers to the very list that it is given.
        overrides[self.const.key_train_handlers()] = list(overrides[self.const.key_train_handlers()])
        overrides["model_path"] = str(self._trained)
        if overrides.get("tracking") == "mlflow":
            overrides["tracking"] = self._tracking()
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
