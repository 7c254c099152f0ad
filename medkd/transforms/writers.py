"""Writing results so that a reader never sees half of one, nor takes microns for millimetres."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.config import PathLike
from monai.data import NibabelWriter
from nibabel.nifti1 import Nifti1Image

from medkd.files import atomic_path

__all__ = ["AtomicNibabelWriter"]

_MILLIMETRES = 2  # in NIfTI's code; what DICOM counts in


class AtomicNibabelWriter(NibabelWriter):
    """``NibabelWriter`` that writes beside the target and renames; for ``SaveImaged(writer=…)``.

    The file's units (``xyzt_units``) are those of the image; millimetres if it was no NIfTI file.
    """

    units = _MILLIMETRES

    def set_metadata(self, meta_dict: Mapping[Any, Any] | None = None, resample: bool = True, **options: Any) -> None:
        """As MONAI's; the units are kept too."""
        super().set_metadata(meta_dict, resample, **options)
        self.units = int((meta_dict or {}).get("xyzt_units", _MILLIMETRES))

    def create_backend_obj(self, *args: Any, **kwargs: Any) -> Nifti1Image:  # type: ignore[override]
        """As MONAI's, which cannot know the units: it is a class method."""
        image: Nifti1Image = super().create_backend_obj(*args, **kwargs)
        image.header["xyzt_units"] = self.units
        return image

    def write(self, filename: PathLike, verbose: bool = False, **kwargs: Any) -> None:
        """Write the NIfTI file; on any error nothing is left behind."""
        with atomic_path(str(filename)) as partial:
            super().write(partial, verbose=verbose, **kwargs)
