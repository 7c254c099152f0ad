"""An evaluator that keeps every branch of a network, so that teacher and student are measured side by side."""

from __future__ import annotations

from typing import Any

import torch
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys
from torch import Tensor

__all__ = ["DistillationEvaluator"]


class DistillationEvaluator(SupervisedEvaluator):
    """``SupervisedEvaluator`` that calls ``network.outputs`` and keeps each field of what it returns.

    ``engine.state.output`` holds ``image``, ``label``, ``pred`` (the student's prediction, which is what the network
    itself returns in eval mode) and the fields of the named tuple, e.g. ``teacher`` and ``student``. A network without
    ``outputs`` is evaluated as MONAI does. The arguments are those of ``monai.engines.SupervisedEvaluator``.
    """

    def _iteration(self, engine: Any, batchdata: dict[str, Tensor]) -> dict[str, Any]:
        network = getattr(self.network, "module", self.network)  # DDP hides the methods of what it wraps
        if not hasattr(network, "outputs"):
            result: dict[str, Any] = super()._iteration(engine, batchdata)
            return result
        image, label = self.prepare_batch(batchdata, self.state.device, self.non_blocking, **self.to_kwargs)
        self.state.output = {CommonKeys.IMAGE: image, CommonKeys.LABEL: label}
        with self.mode(network), torch.autocast(self.state.device.type, enabled=self.amp, **self.amp_kwargs):
            output = self._infer(image, network)
        self.state.output |= output._asdict()
        self.state.output[CommonKeys.PRED] = output.prediction
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        fields: dict[str, Any] = self.state.output
        return fields

    def _infer(self, image: Tensor, network: Any) -> Any:
        """The inferer's result as the named tuple that the network returns; inferers know plain tuples alone."""
        kind: list[Any] = []

        def forward(window: Tensor) -> tuple[Tensor, ...]:
            output = network.outputs(window)
            kind[:] = [type(output)]
            return tuple(output)

        fields = self.inferer(image, forward)
        return kind[0](*fields)
