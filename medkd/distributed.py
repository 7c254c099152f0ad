"""One process per device, as ``torchrun`` starts them: what ``multi_gpu_train.yaml`` of every bundle needs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["gathered", "local_device", "parallel", "rank", "start", "stop"]

_NONE = object()


def rank() -> int:
    """This process's number among those of the training; 0 where there is one alone."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def gathered(rows: Iterable[Any]) -> list[Any]:
    """The rows of all processes, in every process; they may be of any number and kind.

    Where rows were dealt out in turn, as samplers do, they are in their first order again.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return list(rows)
    everyone: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyone, list(rows))
    return [row for row in chain.from_iterable(zip_longest(*everyone, fillvalue=_NONE)) if row is not _NONE]


def local_device() -> torch.device:
    """The GPU of this process (``LOCAL_RANK``), or the CPU."""
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else torch.device("cpu")


def start(device: torch.device) -> None:
    """Meet the other processes: by NCCL on GPUs, by Gloo on CPUs."""
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    if device.type == "cuda":
        torch.cuda.set_device(device)


def parallel(network: nn.Module, device: torch.device, *, find_unused_parameters: bool = False) -> nn.Module:
    """The network on the device, its gradients averaged over the processes.

    Args:
        network: what is trained.
        device: of this process.
        find_unused_parameters: whether a step may leave parameters out.
    """
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(
        network.to(device), device_ids=devices, find_unused_parameters=find_unused_parameters
    )


def stop() -> None:
    """Leave together: a process that goes early can bring the others down."""
    distributed.barrier()
    distributed.destroy_process_group()
