"""Series of a PACS, of which a request never finds half."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import MethodType
from typing import Any

from filelock import FileLock
from monailabel.datastore.dicom import DICOMWebDatastore

__all__ = ["whole_series"]


def whole_series(datastore: Any) -> Any:
    """The data store; its series are fetched by one process at a time, and again where that was broken off.

    The stock one takes a folder that is not empty for a series, also while the server's training is filling it, and keeps
    the volume that it makes of it.
    """
    if not isinstance(datastore, DICOMWebDatastore) or not datastore._convert_to_nifti:
        return datastore
    fetch, cache = datastore.get_image_uri, Path(datastore._datastore.image_path())

    def get_image_uri(_: Any, image_id: str) -> Any:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f".{image_id}.lock"):
            folder = cache / image_id
            if folder.is_dir() and not (cache / f"{image_id}.nii.gz").exists():  # nobody is filling it now
                shutil.rmtree(folder)
            return fetch(image_id)

    datastore.get_image_uri = MethodType(get_image_uri, datastore)
    return datastore
