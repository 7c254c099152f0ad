"""Scores where there is an annotation, and nowhere else."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

__all__ = ["IgnoreUnannotatedd"]


class IgnoreUnannotatedd(MapTransform):
    """Make label and predictions background where nothing is annotated, so that no foreground score counts it.

    Args:
        keys: one-hot predictions, ``[K, *spatial]``, background first.
        label_key: class indices, ``[1, *spatial]``.
        values: label values that mean "not annotated".
        allow_missing_keys: whether a prediction may be absent.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        label_key: str,
        values: Collection[int] = (255,),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_key = label_key
        self.values = tuple(values)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item; fully annotated ones are as they were."""
        item = dict(data)
        label = torch.as_tensor(item[self.label_key])
        unknown = torch.isin(label, torch.tensor(self.values, dtype=label.dtype, device=label.device))
        item[self.label_key] = item[self.label_key].masked_fill(unknown, 0)
        for key in self.key_iterator(item):
            there = unknown.to(item[key].device)
            item[key] = item[key].masked_fill(there, 0)
            item[key][:1].masked_fill_(there, 1)
        return item
