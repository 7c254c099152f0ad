"""Series of a PACS, of which a request never finds half."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import MethodType
from typing import Any

from filelock import FileLock
from monailabel.datastore.dicom import DICOMWebDatastore

from medkd.reading.series import series_problems

__all__ = ["whole_series"]


def whole_series(datastore: Any) -> Any:
    """The data store; its series are fetched by one process at a time, and again where that was broken off.

    The stock one takes a folder that is not empty for a series, also while the server's training is filling it, and keeps
    the volume that it makes of it: of a series with a gap one in which what lies behind the gap has moved. That is refused,
    whoever asks for it: an inference, a viewer or a training.
    """
    if not isinstance(datastore, DICOMWebDatastore) or not datastore._convert_to_nifti:
        return datastore
    fetch, cache = datastore.get_image_uri, Path(datastore._datastore.image_path())

    def get_image_uri(_: Any, image_id: str) -> Any:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f".{image_id}.lock"):
            folder, volume = cache / image_id, cache / f"{image_id}.nii.gz"
            new = not volume.exists()
            if folder.is_dir() and new:  # nobody is filling it now
                shutil.rmtree(folder)
            found = fetch(image_id)
            problems = series_problems(folder) if new and folder.is_dir() else []
            if problems:
                volume.unlink(missing_ok=True)
                raise ValueError(f"{folder}: " + "; ".join(problems))
            return found

    datastore.get_image_uri = MethodType(get_image_uri, datastore)
    return datastore
