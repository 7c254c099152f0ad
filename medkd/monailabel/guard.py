"""What a request may name: studies and labels by their names, and no other place of the machine."""

from __future__ import annotations

import filecmp
import inspect
import re
import tempfile
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

from medkd.monailabel.refusal import refused

__all__ = ["check_image", "guarded"]

_NAMES = {"image_id", "label_id", "label_tag"}


def guarded(datastore: Any) -> Any:
    """The data store: no identifier or tag may be a path, from which the stock one makes one; no upload replaces a study."""
    datastore.add_image = _added(datastore)  # no method any more, so whatever can be called is looked at
    for name, method in inspect.getmembers(datastore, callable):
        if not name.startswith("_") and _NAMES & set(inspect.signature(method).parameters):
            setattr(datastore, name, _checked(method))
    return datastore


def check_image(image: Any, datastore: Any, places: Iterable[Any]) -> None:
    """The stock app reads any file that a request names.

    Args:
        image: of a request.
        datastore: knows the studies.
        places: folders whose files may be named by their paths; what is no folder is left out.

    Raises:
        HTTPException: for what is no study's name, or a path that is neither in a place nor an upload's.
    """
    if not isinstance(image, str) or not image:
        return
    if not Path(image).exists():
        place = str(datastore.get_image_uri(image) or "")
        if not Path(place).is_absolute() or not Path(place).exists():  # a list may be older than the folder
            raise refused("image", "the name of a study", "nothing of that name")
        return
    path, uploads = Path(image).resolve(), Path(tempfile.gettempdir()).resolve()
    upload = path.parent == uploads and re.fullmatch(r"tmp\w{8}\..+", path.name)
    folders = [Path(place).resolve() for place in places if place and Path(place).is_dir()]
    if not upload and not any(path.is_relative_to(folder) for folder in folders):
        raise refused("image", "the name of a study", "a path")


def _added(datastore: Any) -> Callable[..., Any]:
    """``add_image``; the stock one would put the file in the place of a study of that name, and forget its labels."""
    add = datastore.add_image

    @wraps(add)
    def added(image_id: str, image_filename: str, image_info: dict[str, Any]) -> Any:
        if image_id not in datastore.list_images():
            return add(image_id, image_filename, image_info)
        if not filecmp.cmp(datastore.get_image_uri(image_id), image_filename, shallow=False):
            raise refused("image_id", "a new name", "that of another study", status=409)
        return image_id

    return added


def _checked(method: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(method)

    @wraps(method)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for parameter, value in signature.bind(*args, **kwargs).arguments.items():
            if parameter in _NAMES and isinstance(value, str):
                _check_name(parameter, value)
        return method(*args, **kwargs)

    return checked


def _check_name(key: str, value: str) -> None:
    if re.search(r"[/\\]|^\.", value):
        raise refused(key, "a name", "a path")
