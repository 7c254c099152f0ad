"""A cached dataset that keeps no more in memory than there is."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.data import CacheDataset
from monai.transforms import Compose
from torch import Tensor

from medkd.datasets.memory import available_memory

__all__ = ["AutoCacheDataset"]

_SHARE = 0.5  # of what is available: batches, networks and other datasets need some too
_LOOKED_AT = 3  # items whose size is measured
_logger = logging.getLogger(__name__)


class AutoCacheDataset(CacheDataset):
    """``CacheDataset`` that can find out by itself how many items to keep.

    The memory is that which the machine or the container has left; processes that ``torchrun`` started on one machine share
    it. The other arguments are those of ``monai.data.CacheDataset``.

    Args:
        data: items.
        transform: up to its first random one, transforms are done once for what is kept. Those of a ``Compose`` inside are
            looked at one by one, where MONAI's takes it for random as a whole.
        cache_rate: the share of items to keep, in [0, 1]; or ``"auto"``: as many as half of the available memory holds, which the log tells.

    Raises:
        ValueError: for another text.
    """

    def __init__(
        self, data: Sequence[Any], transform: Any = None, *, cache_rate: float | str = 1.0, **kwargs: Any
    ) -> None:
        if isinstance(cache_rate, str) and cache_rate != "auto":
            raise ValueError(f'cache_rate: expected a number from 0 to 1 or "auto", found {cache_rate!r}')
        self._auto = cache_rate == "auto"
        steps: Any = transform if isinstance(transform, Compose) else Compose(transform)
        super().__init__(
            data=data, transform=steps.flatten(), cache_rate=1.0 if self._auto else float(cache_rate), **kwargs
        )

    def set_data(self, data: Sequence[Any]) -> None:
        """As MONAI's, which its constructor calls too."""
        if self._auto:
            self.data = data
            self.set_rate = self._affordable(len(data))
        super().set_data(data)

    def _affordable(self, count: int) -> float:
        """The share of the items that fits into memory."""
        available = available_memory()
        if not count or available is None:
            return 1.0
        chosen = np.unique(np.linspace(0, count - 1, _LOOKED_AT).round().astype(int)).tolist()
        size = max(1, *(_size(self._load_cache_item(index)) for index in chosen))
        budget = _SHARE * available / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        kept = min(count, int(budget / size))
        told = (kept, count, size / 2**20, available / 2**30)
        _logger.info("%d of %d items of %.1f MiB are kept in memory; %.1f GiB were available.", *told)
        return (kept + 0.5) / count if kept < count else 1.0  # MONAI rounds down what it multiplies by this


def _size(item: Any) -> int:
    """Bytes of all arrays in an item."""
    if isinstance(item, (Tensor, np.ndarray)):
        return int(item.nbytes)
    if isinstance(item, Mapping):
        item = list(item.values())
    return sum(map(_size, item)) if isinstance(item, Iterable) and not isinstance(item, (str, bytes)) else 0
