"""The student of a bundle in the runtime that its configuration names; the stock task knows PyTorch alone."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from monailabel.tasks.infer.bundle import BundleInferTask
from torch import nn

from medkd.bundle import read_bundle

__all__ = ["StudentInferTask"]


class StudentInferTask(BundleInferTask):  # type: ignore[misc] # the server is not installed where medkd is checked
    """The stock task, with exported students too: ``runtime`` and ``precision`` of ``inference.yaml``."""

    @cached_property
    def _exported(self) -> nn.Module | None:
        """``None`` where PyTorch runs it. Read once: a version does not change, another one is another task."""
        found = read_bundle(Path(self.bundle_path))
        return None if found.runtime["runtime"] == "pytorch" else found.student()

    def _get_network(self, device: Any, data: Any) -> Any:
        return super()._get_network(device, data) if self._exported is None else self._exported
