"""Load an image and its labels from files of one kind, with every check before and after."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.data import PILReader
from monai.transforms import LoadImage, MapTransform

from medkd.reading.frames import to_mask, to_rgb
from medkd.reading.images import VOLUME_READERS, read_by
from medkd.reading.tiles import to_tile
from medkd.transforms.checks import CheckCased, CheckFilesd

__all__ = ["LoadCased"]

_PICTURES = {"frame": to_rgb, "tile": to_tile}


class LoadCased(MapTransform):
    """``CheckFilesd``, ``LoadImaged`` with the readers of the kind, and ``CheckCased``: a sound case, or a clear error.

    Images become ``[channels, *spatial]`` and labels ``[1, *spatial]``, x first, as ``MetaTensor``.

    Args:
        keys: key of the image.
        kind: ``"volume"``: NIfTI, or the folder of a DICOM series; ``"frame"``: a picture file, in RGB of 8 bit;
            ``"tile"``: the same, where what is transparent becomes white.
        label_keys: keys of the labels; absent ones are passed over. Labels of pictures become 0 and 1.
        num_classes: number of classes with the background; labels lie in [0, num_classes) or are in ``ignore_values``.
        ignore_values: label values that mean "not annotated".
        contrast: refuse constant images, from which nothing can be learned.

    Raises:
        ValueError: for an unknown kind; when called, with every problem of the item at once.
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        *,
        kind: str = "volume",
        label_keys: Collection[str] = (),
        num_classes: int = 2,
        ignore_values: Collection[int] = (),
        contrast: bool = True,
    ) -> None:
        super().__init__(keys)
        if kind not in {"volume", *_PICTURES}:
            raise ValueError(f"kind must be volume, frame or tile, got {kind!r}")
        self.label_keys = tuple(label_keys)
        self.files = CheckFilesd((*self.keys, *label_keys), allow_missing_keys=True)
        volume = kind == "volume"
        self.load_image = _loader(VOLUME_READERS if volume else PILReader(converter=_PICTURES[kind]))
        self.load_label = _loader(VOLUME_READERS if volume else PILReader(converter=to_mask))
        dims = {"spatial_dims": 3, "channels": 1} if volume else {"spatial_dims": 2, "channels": 3}
        self.check = CheckCased(
            self.keys,
            label_keys=label_keys,
            num_classes=num_classes,
            ignore_values=ignore_values,
            contrast=contrast,
            **dims,
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its files loaded."""
        item = self.files(data)
        for keys, load in ((self.keys, self.load_image), (self.label_keys, self.load_label)):
            item |= {key: read_by(load, item[key]) for key in keys if key in item}
        return self.check(item)


def _loader(reader: Any) -> LoadImage:
    return LoadImage(reader=reader, image_only=True, ensure_channel_first=True)
