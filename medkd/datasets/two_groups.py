"""Batches with a set share of two groups: strong and weak images, positive and negative ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from monai.data import DataLoader
from torch.utils.data import Sampler

from medkd.datasets.seeded_cache import Draw, SeededCacheDataset

__all__ = ["TwoGroupBatchSampler", "TwoGroupLoader"]


class TwoGroupBatchSampler(Sampler[list[Draw]]):
    """Batches with a set share of two groups of images, however many there are of either.

    The groups may be strong and weak images, or positive and negative ones. An epoch has as many batches as all images
    fill, whatever the share, so that trainings with different shares take equally many steps. Each group is gone
    through again and again, in a new order each time. One image of a group and a batch of 8 is fine: it is drawn again
    with other seeds. Where there is one group alone, it fills the batch.

    Args:
        dataset: has ``first_group``, a flag per image; see ``SeededCacheDataset``.
        batch_size: images per batch and process; >= 1.
        first_fraction: share of the first group in a batch, in [0, 1]; strictly between 0 and 1 at least one image of
            either group is in every batch. ``None``: a half, or none where there is no image of the first group.
        epoch_length: batches per epoch; by default as many as all images fill.
        seed: of the order and of every image's random transforms.
        num_replicas: number of processes that share an epoch; by default those of ``torch.distributed``.
        rank: this process's number; the processes' batches have the same numbers of either group, or one more and one less, and
            together they are the batches of one process with ``num_replicas`` times the ``batch_size``, its random transforms
            included.

    Raises:
        ValueError: for an option out of range, an empty dataset, no image of the first group where some are asked for,
            or a batch too small for both groups.
    """

    def __init__(
        self,
        dataset: SeededCacheDataset,
        *,
        batch_size: int,
        first_fraction: float | None = 0.5,
        epoch_length: int | None = None,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        if batch_size < 1 or not 0 <= (first_fraction or 0) <= 1:
            raise ValueError(
                f"expected batch_size >= 1 and first_fraction in [0, 1], got {batch_size} and {first_fraction}"
            )
        flags = dataset.first_group
        self.first = [i for i, flag in enumerate(flags) if flag]
        self.second = [i for i, flag in enumerate(flags) if not flag]
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.num_replicas = num_replicas or (torch.distributed.get_world_size() if distributed else 1)
        self.rank = rank if rank is not None else (torch.distributed.get_rank() if distributed else 0)
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(f"expected rank in [0, {self.num_replicas}), the number of processes, got {self.rank}")
        self.num_first = _first_per_batch(self, first_fraction, dataset.group_key)  # of all processes together
        self.epoch_length = epoch_length or self._natural_length()

    def set_epoch(self, epoch: int) -> None:
        """Tell which epoch the next iteration belongs to; it alone, with the seed, decides what is drawn."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches per epoch."""
        return self.epoch_length

    def __iter__(self) -> Iterator[list[Draw]]:
        """The batches of the current epoch."""
        together = self.batch_size * self.num_replicas
        counts = (self.num_first, together - self.num_first)
        orders = [
            self._order(group, count * self.epoch_length, stream)
            for stream, (group, count) in enumerate(zip((self.first, self.second), counts, strict=True))
        ]
        seeds = self._generator(2).integers(0, 2**32, size=(self.epoch_length, together)).tolist()
        for batch in range(self.epoch_length):
            chosen = [i for order, n in zip(orders, counts, strict=True) for i in order[batch * n : (batch + 1) * n]]
            draws = [Draw(index, seed) for index, seed in zip(chosen, seeds[batch], strict=True)]
            # From both ends, so that who gets one more of the first group gets one less of the second.
            first, second = draws[: self.num_first], draws[self.num_first :]
            yield first[self.rank :: self.num_replicas] + second[self.num_replicas - 1 - self.rank :: self.num_replicas]

    def _natural_length(self) -> int:
        return -(-(len(self.first) + len(self.second)) // (self.batch_size * self.num_replicas))

    def _order(self, group: list[int], count: int, stream: int) -> list[int]:
        """``count`` images of a group: shuffled passes over it."""
        rng = self._generator(stream)
        order: list[int] = []
        while len(order) < count:
            order += rng.permutation(group).tolist()
        return order

    def _generator(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.epoch, stream])


class TwoGroupLoader(DataLoader):
    """MONAI's ``DataLoader`` over the batches of a ``TwoGroupBatchSampler``.

    Args:
        dataset: a ``SeededCacheDataset``.
        num_workers: worker processes; they stay from epoch to epoch.
        sampling: the arguments of ``TwoGroupBatchSampler``.
    """

    def __init__(self, dataset: SeededCacheDataset, *, num_workers: int = 0, **sampling: Any) -> None:
        super().__init__(
            dataset,
            batch_sampler=TwoGroupBatchSampler(dataset, **sampling),
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
        )


def _first_per_batch(sampler: TwoGroupBatchSampler, fraction: float | None, key: str | None) -> int:
    """How many images of the processes' batch are of the first group."""
    num_first, num_second = len(sampler.first), len(sampler.second)
    processes, together = sampler.num_replicas, sampler.num_replicas * sampler.batch_size
    if num_first + num_second == 0:
        raise ValueError("expected at least one image to train on, found none")
    if fraction is None:
        fraction = 0.5 if num_first else 0.0
    if fraction > 0 and num_first == 0:
        raise ValueError(
            f"expected at least one image whose {key!r} is true for a share of {fraction} of every batch, found none "
            f"among {num_second}; label one so, or set the share to 0"
        )
    if num_second == 0:
        return together
    if fraction in {0.0, 1.0}:
        return round(fraction * together)
    if sampler.batch_size < 2:
        raise ValueError(
            f"expected batch_size >= 2 for images of both groups in a batch ({fraction=}), got {sampler.batch_size}"
        )
    return min(max(processes, round(fraction * together)), together - processes)
