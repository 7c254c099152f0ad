"""Tell the network which images a flag of the batch names, in a form that makes nobody wait."""

from __future__ import annotations

from typing import Any

import torch
from monai.engines import PrepareBatch, default_prepare_batch
from torch import Tensor

from medkd.outputs import positions

__all__ = ["PrepareSelection"]


class PrepareSelection(PrepareBatch):
    """For ``prepare_batch``: image and label, and as keyword arguments of the network the images that flags name.

    Args:
        flags: the network's arguments, by the batch's key of the flag (bool ``[B]``), e.g. ``{"strong": "strong"}``. The
            argument gets their positions ``[N]`` on the device (``medkd.outputs.positions``).
    """

    def __init__(self, flags: dict[str, str]) -> None:
        self.flags = dict(flags)

    def __call__(
        self,
        batchdata: dict[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Image, label, no further positional arguments, and the selections."""
        image, label = default_prepare_batch(batchdata, device, non_blocking, **kwargs)
        selections = {argument: positions(batchdata[key], device) for key, argument in self.flags.items()}
        return image, label, (), selections
