"""Training on few strong and many weak images: a cached dataset and a sampler whose every draw has its own seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import CacheDataset, DataLoader, get_track_meta, set_track_meta
from monai.transforms import Compose, Randomizable, RandomizableTrait, Transform
from torch.utils.data import Sampler

__all__ = ["Draw", "MixedBatchSampler", "MixedLoader", "MixedSupervisionDataset"]


class Draw(NamedTuple):
    """One item of a batch: which image (its number), and the seed of its random transforms."""

    number: int
    seed: int


class MixedSupervisionDataset(CacheDataset):
    """``CacheDataset`` whose random transforms are seeded by the ``Draw`` that asks for an item.

    What an item looks like then depends on nothing but the draw: not on the number of worker processes, and not on
    what was loaded before, so that a training that was killed goes on exactly where it was. The other arguments are
    those of ``monai.data.CacheDataset`` but ``hash_as_key``, which would merge equal items.

    Args:
        group_key: key of the flag that tells the two groups of images apart: strong and weak, or, where labels are
            image-level, positive and negative; ``None`` where all are of one group.
    """

    def __init__(
        self, data: Sequence[Any], transform: Any = None, *, group_key: str | None = "strong", **kwargs: Any
    ) -> None:
        self.group_key = group_key
        super().__init__(
            data=data, transform=Compose(transform) if isinstance(transform, list) else transform, **kwargs
        )

    @property
    def strong(self) -> list[bool]:
        """For each image whether it is of the first group (strong, or positive)."""
        if self.group_key is None:
            return [True] * len(self)
        return [self._of_first_group(index, self.group_key) for index in range(len(self))]

    def _of_first_group(self, index: int, key: str) -> bool:
        """Told by the datalist, where it is; loading all tiles of a slide to learn their labels would take hours."""
        told = self.data[index].get(key)
        return bool(told if told in (0, 1) else self._cached(index)[key])

    def __getitem__(self, draw: Any) -> Any:
        """The item of a ``Draw``, or of an index (with whatever state the transforms are in)."""
        if not isinstance(draw, Draw):
            return super().__getitem__(draw)
        if isinstance(self.transform, Randomizable):
            self.transform.set_random_state(seed=draw.seed)
        return super().__getitem__(draw.number)

    def _transform(self, index: int) -> Any:
        """The random transforms on a cached item, without metadata: keeping it doubles the time of a batch."""
        transform: Any = self.transform
        item, first = deepcopy(self._cached(index)), transform.get_index_of_first(_is_random)
        if first is None:
            return item
        tracked = get_track_meta()
        set_track_meta(False)
        try:
            return transform(item, start=first)
        finally:
            set_track_meta(tracked)

    def _cached(self, index: int) -> Any:
        item = self._cache[index] if index < len(self._cache) else None
        return self._load_cache_item(index) if item is None else item


def _is_random(transform: Any) -> bool:
    """Where MONAI's ``CacheDataset`` stops caching."""
    return isinstance(transform, RandomizableTrait) or not isinstance(transform, Transform)


class MixedBatchSampler(Sampler[list[Draw]]):
    """Batches with a set number of strong and weak images, however many there are of either.

    An epoch has as many batches as all images fill, whatever the fraction, so that trainings with different fractions
    take equally many steps. Each group is gone through again and again, in a new order each time. One strong image and
    a batch of 8 is fine: it is drawn again with other seeds. With no weak image (or no strong one and
    ``strong_fraction=0``) the batch is filled from the group that there is.

    Args:
        dataset: has ``strong``, a flag per image; see ``MixedSupervisionDataset``.
        batch_size: images per batch and process; >= 1.
        strong_fraction: share of strong images in a batch, in [0, 1]; strictly between 0 and 1 at least one image of
            either group is in every batch.
        epoch_length: batches per epoch; by default as many as all images fill.
        seed: of the order and of every image's random transforms.
        num_replicas: number of processes that share an epoch; by default those of ``torch.distributed``.
        rank: this process's number; every process's batches have the same numbers of strong and weak images.

    Raises:
        ValueError: for an option out of range, an empty dataset, no strong image where some are asked for, or a batch
            too small for both groups.
    """

    def __init__(
        self,
        dataset: MixedSupervisionDataset,
        *,
        batch_size: int,
        strong_fraction: float = 0.5,
        epoch_length: int | None = None,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        if batch_size < 1 or not 0 <= strong_fraction <= 1:
            raise ValueError(
                f"expected batch_size >= 1 and strong_fraction in [0, 1], got {batch_size} and {strong_fraction}"
            )
        self.strong = [i for i, strong in enumerate(dataset.strong) if strong]
        self.weak = [i for i, strong in enumerate(dataset.strong) if not strong]
        self.num_strong = _strong_per_batch(len(self.strong), len(self.weak), batch_size, strong_fraction)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.num_replicas = num_replicas or (torch.distributed.get_world_size() if distributed else 1)
        self.rank = rank if rank is not None else (torch.distributed.get_rank() if distributed else 0)
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(f"expected rank in [0, {self.num_replicas}), the number of processes, got {self.rank}")
        self.epoch_length = epoch_length or self._natural_length()

    def set_epoch(self, epoch: int) -> None:
        """Tell which epoch the next iteration belongs to; it alone, with the seed, decides what is drawn."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches per epoch."""
        return self.epoch_length

    def __iter__(self) -> Iterator[list[Draw]]:
        """The batches of the current epoch."""
        counts = (self.num_strong, self.batch_size - self.num_strong)
        orders = [
            self._order(group, count * self.epoch_length, stream)
            for stream, (group, count) in enumerate(zip((self.strong, self.weak), counts, strict=True))
        ]
        seeds = self._generator(2 + self.rank).integers(0, 2**32, size=(self.epoch_length, self.batch_size))
        for batch in range(self.epoch_length):
            chosen = [i for order, n in zip(orders, counts, strict=True) for i in order[batch * n : (batch + 1) * n]]
            yield [Draw(index, int(seed)) for index, seed in zip(chosen, seeds[batch], strict=True)]

    def _natural_length(self) -> int:
        return -(-(len(self.strong) + len(self.weak)) // (self.batch_size * self.num_replicas))

    def _order(self, group: list[int], count: int, stream: int) -> list[int]:
        """``count`` images of a group for this process: shuffled passes over it, dealt to the processes in turn."""
        rng, needed = self._generator(stream), count * self.num_replicas
        order: list[int] = []
        while len(order) < needed:
            order += rng.permutation(group).tolist()
        return order[self.rank : needed : self.num_replicas]

    def _generator(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.epoch, stream])


class MixedLoader(DataLoader):
    """MONAI's ``DataLoader`` over the batches of a ``MixedBatchSampler``.

    Args:
        dataset: a ``MixedSupervisionDataset``.
        num_workers: worker processes; they stay from epoch to epoch.
        sampling: the arguments of ``MixedBatchSampler``.
    """

    def __init__(self, dataset: MixedSupervisionDataset, *, num_workers: int = 0, **sampling: Any) -> None:
        super().__init__(
            dataset,
            batch_sampler=MixedBatchSampler(dataset, **sampling),
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
        )


def _strong_per_batch(num_strong: int, num_weak: int, batch_size: int, fraction: float) -> int:
    """How many images of a batch are strong."""
    if num_strong + num_weak == 0:
        raise ValueError("expected at least one image to train on, found none")
    if fraction > 0 and num_strong == 0:
        raise ValueError(
            f"expected at least one strong (fully annotated) image for strong_fraction={fraction}, found none among "
            f"{num_weak}; annotate one volume fully, or train on weak labels alone with strong_fraction=0"
        )
    if num_weak == 0:
        return batch_size
    if fraction in {0.0, 1.0}:
        return round(fraction * batch_size)
    if batch_size < 2:
        raise ValueError(
            f"expected batch_size >= 2 for strong and weak images in a batch ({fraction=}), got {batch_size}"
        )
    return min(max(1, round(fraction * batch_size)), batch_size - 1)
