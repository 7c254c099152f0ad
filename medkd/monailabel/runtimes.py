"""The student of a bundle in the runtime that its configuration names; the stock task knows PyTorch alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monailabel.tasks.infer.bundle import BundleInferTask
from torch import nn

from medkd.bundle import read_bundle

__all__ = ["StudentInferTask"]


class StudentInferTask(BundleInferTask):  # type: ignore[misc] # the server is not installed where medkd is checked
    """The stock task, with exported students too: ``runtime`` and ``precision`` of ``inference.yaml``."""

    _exported: nn.Module | None = None

    def _get_network(self, device: Any, data: Any) -> Any:
        found = read_bundle(Path(self.bundle_path))
        if found.runtime["runtime"] == "pytorch":
            return super()._get_network(device, data)
        if self._exported is None:  # a version does not change; another one is another task
            self._exported = found.student()
        return self._exported
