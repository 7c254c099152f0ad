"""Load a teacher's prediction beside its image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch import Tensor

from medkd.reading.predictions import read_prediction

__all__ = ["LoadPredictiond"]


class LoadPredictiond(MapTransform):
    """Probabilities ``[K, *spatial]`` of a teacher from a file, with the geometry of the image that is loaded already.

    Args:
        keys: key of the prediction's path, normally ``"teacher"``.
        image_key: key of the image.
        num_classes: K, with the background.
        allow_missing_keys: an item without a prediction stays as it is.

    Raises:
        ValueError: when called, if the prediction is not one of the image; see ``read_prediction``.
    """

    def __init__(
        self,
        keys: KeysCollection = "teacher",
        *,
        image_key: str = "image",
        num_classes: int,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key, self.num_classes = image_key, num_classes

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with the prediction loaded."""
        item = dict(data)
        for key in self.key_iterator(item):
            image = item[self.image_key]
            probability = read_prediction(item[key], image, self.num_classes)
            plain = probability.as_subclass(Tensor)  # what a file says of its geometry was compared
            item[key] = MetaTensor(plain, affine=image.affine) if isinstance(image, MetaTensor) else plain
        return item
