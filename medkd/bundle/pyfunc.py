"""A student as MLflow loads it: a model's ``loader_module`` is this, so that no pickle is read, only a bundle.

``mlflow.pyfunc.load_model("models:/NAME@champion").predict(images)`` needs mlflow and medkd, and nothing of the training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medkd.bundle.reading import read_bundle
from medkd.bundle.runtimes import PYTORCH

__all__ = ["PyfuncStudent", "bundled_student"]


class PyfuncStudent:
    """What ``predict`` of MLflow calls.

    Args:
        network: the student, in eval mode on the CPU.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    @torch.inference_mode()
    def predict(self, images: NDArray[Any], params: Any = None) -> NDArray[np.float32]:
        """The network's output.

        Args:
            images: [B, C, *spatial], float32, normalised and of a size as the bundle's ``inference.yaml`` makes them.
            params: of MLflow; there are none.

        Returns:
            [B, K, *spatial]: logits, or probabilities where the network ends in them.
        """
        found: NDArray[np.float32] = self.network(torch.as_tensor(np.asarray(images, dtype=np.float32))).numpy()
        return found


def bundled_student(bundle: str | Path) -> nn.Module:
    """The student of a bundle's folder in PyTorch, whatever runtime the bundle names.

    Raises:
        FileNotFoundError: if it was not trained.
        ValueError: if what is there does not fit.
    """
    found = read_bundle(Path(bundle))
    found.run_by(**PYTORCH)
    found.inference.update({"device": "cpu"})
    return found.student()


def _load_pyfunc(path: str) -> PyfuncStudent:
    """MLflow's name for what it calls, with the place of the bundle."""
    return PyfuncStudent(bundled_student(path))
