"""A cached dataset whose every draw has its own seed, so that a training that was killed goes on exactly where it was."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NamedTuple

from monai.data import get_track_meta, set_track_meta
from monai.transforms import RandomizableTrait, Transform

from medkd.datasets.auto_cache import AutoCacheDataset
from medkd.transforms.batches import SEED

__all__ = ["Draw", "SeededCacheDataset"]


class Draw(NamedTuple):
    """One item of a batch: which image (its number), and the seed of its random transforms."""

    number: int
    seed: int


class SeededCacheDataset(AutoCacheDataset):
    """``AutoCacheDataset`` whose random transforms are seeded by the ``Draw`` that asks for an item.

    What an item looks like then depends on nothing but the draw: not on the number of worker processes, and not on
    what was loaded before, so that a training that was killed goes on exactly where it was. Items are dictionaries, or lists of
    them; their seed is added under ``SEED`` (``medkd.transforms``). The other arguments are
    those of ``AutoCacheDataset`` but ``hash_as_key``, which would merge equal items.

    Args:
        group_key: key of the flag that tells two groups of images apart, for ``TwoGroupBatchSampler``: strong and weak
            images, positive and negative ones; ``None`` where all are of one group.
    """

    def __init__(
        self, data: Sequence[Any], transform: Any = None, *, group_key: str | None = None, **kwargs: Any
    ) -> None:
        self.group_key = group_key
        super().__init__(data=data, transform=transform, **kwargs)

    @property
    def first_group(self) -> list[bool]:
        """For each image whether it is of the first group: its flag is true."""
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
        self.transform.set_random_state(seed=draw.seed)
        item = super().__getitem__(draw.number)
        crops = item if isinstance(item, list) else [item]
        for number, crop in enumerate(crops):
            crop[SEED] = draw.seed + number  # for transforms of the whole batch
        return item

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
