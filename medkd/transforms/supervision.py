"""From what a datalist says about an image to what the losses need: ``label``, ``weak_label`` and ``strong``."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

__all__ = ["SupervisionLabelsd"]

Supervision = Literal["mixed", "weak", "strong", "full"]


class SupervisionLabelsd(MapTransform):
    """Choose the annotation that the teacher and the student may see.

    An item has ``label`` (the best annotation there is) and may have ``weak_label`` (a sparse one) and
    ``supervision``: ``"strong"``, ``"weak"``, or ``"none"`` where nothing may be seen or ``label`` does not exist. An
    item without it is strong if its label has no ignored pixel. So the images that a server sends with nothing but
    ``image`` and ``label`` sort themselves.

    The result has, for every item, ``label`` (dense on strong images, sparse on the others), ``weak_label`` (what the
    student may see) and ``strong`` (bool).

    Args:
        keys: the key of the label, normally ``"label"``.
        image_key: the key of the image, for the shape of labels that do not exist.
        weak_key: the key of the sparse label.
        supervision: what to train with. ``"mixed"``: dense labels on strong images, sparse on the others. ``"weak"``:
            sparse labels on all that have one. ``"strong"``: dense labels on strong images, nothing on the others. ``"full"``: dense
            labels on all, the ceiling of an ablation.
        student_sees: ``"label"``, the student learns from the dense labels of strong images too; ``"weak_label"``, it
            sees sparse labels only, as in the paper; of a strong image without one the dense label takes its place, unless
            ``supervision`` is ``"weak"``.
        unannotated_values: label values that mean "not annotated"; they become ``ignore_index``.
        ignore_index: the value that the losses ignore.

    Raises:
        ValueError: for an unknown option; when called, for an item whose ``supervision`` is unknown.
    """

    def __init__(
        self,
        keys: KeysCollection = "label",
        *,
        image_key: str = "image",
        weak_key: str = "weak_label",
        supervision: Supervision = "mixed",
        student_sees: Literal["label", "weak_label"] = "label",
        unannotated_values: Sequence[int] = (255,),
        ignore_index: int = 255,
    ) -> None:
        super().__init__(keys)
        if supervision not in {"mixed", "weak", "strong", "full"}:
            raise ValueError(f'supervision must be "mixed", "weak", "strong" or "full", got {supervision!r}')
        if student_sees not in {"label", "weak_label"}:
            raise ValueError(f'student_sees must be "label" or "weak_label", got {student_sees!r}')
        self.image_key = image_key
        self.weak_key = weak_key
        self.supervision = supervision
        self.student_sees = student_sees
        self.unannotated_values = tuple(unannotated_values)
        self.ignore_index = ignore_index

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Set ``label``, ``weak_label`` and ``strong`` of one item; labels are ``[1, *spatial]``."""
        item = dict(data)
        (key,) = self.keys
        nothing = torch.full_like(item[self.image_key][:1], self.ignore_index)
        dense = self._marked(item[key]) if key in item else nothing
        told = self._told(item, dense)
        strong, sparse_there = told == "strong", self.weak_key in item
        weak = nothing if told == "none" else self._marked(item[self.weak_key]) if sparse_there else dense
        if self.supervision == "weak" and strong and not sparse_there:
            weak = nothing  # a training on sparse labels alone must not be given a dense one
        label = {
            "mixed": dense if strong else weak,
            "weak": weak,
            "strong": dense if strong else nothing,
            "full": dense,
        }[self.supervision]
        strong = {"weak": False, "full": key in data}.get(self.supervision, strong)
        item[key] = label
        sparse = nothing if self.supervision == "strong" and told != "strong" else weak
        item[self.weak_key] = sparse if self.student_sees == "weak_label" else label
        item["strong"] = strong
        return item

    def _told(self, item: Mapping[Hashable, Any], dense: torch.Tensor) -> str:
        """The item's ``supervision``, or what its label shows."""
        shown = "weak" if bool((dense == self.ignore_index).any()) else "strong"
        told = str(item.get("supervision", shown))
        if told not in {"strong", "weak", "none"}:
            raise ValueError(f'supervision must be "strong", "weak" or "none", got {told!r} for {item.get("image")}')
        return told

    def _marked(self, label: torch.Tensor) -> torch.Tensor:
        """``label`` with every value that means "not annotated" set to ``ignore_index``."""
        marked = label.clone()
        for value in self.unannotated_values:
            marked[label == value] = self.ignore_index
        return marked
