"""Trainings that a MONAI Label server starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monailabel.tasks.train.bundle import BundleTrainTask

__all__ = ["DistillationTrainTask"]


class DistillationTrainTask(BundleTrainTask):  # type: ignore[misc] # the server is not installed where medkd is checked
    """The bundle's own training, tracked by its own ``tracking.yaml``.

    A request for ``mlflow`` gets that file: parameters, pictures, and a run that goes on where the server cannot be
    reached. ``pretrained: false`` starts from fresh weights; the stock task of 0.8.5 fails there.
    """

    def _update_overrides(self, overrides: dict[str, Any]) -> dict[str, Any]:
        own = Path(self.bundle_path) / "configs" / "tracking.yaml"
        if overrides.get("tracking") == "mlflow" and own.is_file():
            overrides["tracking"] = str(own)
        return overrides

    def _load_checkpoint(self, model_pytorch: str, pretrained: bool, train_handlers: list[Any]) -> None:
        if pretrained:
            super()._load_checkpoint(model_pytorch, pretrained, train_handlers)
            return
        # The list is that of the task, which an earlier request may have changed.
        train_handlers[:] = [h for h in train_handlers if h.get("_target_") != "CheckpointLoader"]
