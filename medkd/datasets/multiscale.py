"""Training at several scales: a wrapper of a data loader, so that neither engine nor dataset knows of scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

__all__ = ["MultiScaleLoader"]


class MultiScaleLoader:
    """Every batch of a loader at every scale, one after the other: one optimiser step each (PraNet, arXiv 2006.11392).

    Args:
        loader: gives batches ``{key: [B, C, H, W], …}``.
        scales: factors > 0 of both sides.
        multiple: sides are rounded to the nearest multiple of this, as the network demands.
        keys: what is resized (bilinearly, corners aligned, as in the released codes); the rest is passed on.

    Raises:
        ValueError: for an empty or negative scale; when iterated, for sides that are no multiples.
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        *,
        scales: Sequence[float] = (0.75, 1.0, 1.25),
        multiple: int = 32,
        keys: Sequence[str] = ("image", "label"),
    ) -> None:
        if not scales or min(scales) <= 0:
            raise ValueError(f"expected scales > 0, at least one, got {list(scales)}")
        self.loader = loader
        self.scales = tuple(scales)
        self.multiple = multiple
        self.keys = tuple(keys)

    def __len__(self) -> int:
        """Batches of the loader times scales."""
        return len(self.loader) * len(self.scales)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The batches, each at all scales, with the same random changes (``SEED``), as in the released codes."""
        for batch in self.loader:
            for scale in self.scales:
                yield {key: self._resized(value, scale) if key in self.keys else value for key, value in batch.items()}

    @property
    def batch_sampler(self) -> Any:
        """The wrapped loader's, which a trainer tells the epoch."""
        return self.loader.batch_sampler

    @property
    def dataset(self) -> Any:
        """The wrapped loader's."""
        return self.loader.dataset

    def _resized(self, value: Tensor, scale: float) -> Tensor:
        if any(side % self.multiple for side in value.shape[2:]):
            raise ValueError(
                f"expected sides that are multiples of {self.multiple}, got {tuple(value.shape[2:])}; set image_size"
            )
        size = [max(1, round(side * scale / self.multiple)) * self.multiple for side in value.shape[2:]]
        if size == list(value.shape[2:]):
            return value
        return F.interpolate(value.float(), size, mode="bilinear", align_corners=True)
