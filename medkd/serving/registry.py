"""A student out of an MLflow model registry, as the folder of a bundle."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medkd.files import sha256

__all__ = ["fetched", "is_model_uri", "registered_name"]

_MODEL = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/@]+))")
_LOGGED = re.compile(r"models:/(?P<id>m-[0-9a-f]{32})")


def is_model_uri(place: str) -> bool:
    """Whether it names a model of MLflow and no folder."""
    return place.startswith("models:/")


def registered_name(uri: str) -> str:
    """``NAME`` of ``models:/NAME@ALIAS`` and ``models:/NAME/VERSION``, ``student`` of ``models:/m-…``.

    Raises:
        ValueError: for another address.
    """
    if _LOGGED.fullmatch(uri):
        return "student"
    return _parsed(uri)["name"]


@contextmanager
def fetched(uri: str) -> Iterator[Path]:
    """The bundle of a student that a training has logged, in a temporary folder; its student is the one that was logged.

    Args:
        uri: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, or ``models:/m-…`` of a model that was not registered. The
            store is the one that ``MLFLOW_TRACKING_URI`` names.

    Raises:
        ValueError: for a model, version or alias that is not there, with those that are; for a model of another kind, or
            a student whose SHA-256 is not the one that was written down.
        OSError: if the store cannot be reached.
    """
    store = _store()
    with tempfile.TemporaryDirectory(prefix="medkd-") as folder:
        with _reached(store):
            place, digest = _place(_client(store), uri)
            _download(place, folder, store)
        yield _checked(Path(folder), uri, digest)


def _store() -> str:
    store = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not store:
        raise ValueError(
            "MLFLOW_TRACKING_URI: expected the MLflow store that has the model, found nothing; "
            "for example a server's address, or sqlite:///BUNDLE/eval/mlruns.db"
        )
    scheme, _, database = store.partition(":///")
    if scheme == "sqlite" and not Path(database).is_file():  # which MLflow would make
        raise FileNotFoundError(f"MLFLOW_TRACKING_URI: expected a store, found no file {database}")
    return store


def _client(store: str) -> Any:
    from mlflow import MlflowClient

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # MLflow's own seven take minutes
    return MlflowClient(store)


@contextmanager
def _reached(store: str) -> Iterator[None]:
    """What fails within is told of the store, in one line."""
    import requests
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, requests.RequestException) as error:
        raise ConnectionError(
            f"MLFLOW_TRACKING_URI {store}: expected an answer, found: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _parsed(uri: str) -> re.Match[str]:
    found = _MODEL.fullmatch(uri)
    if not found:
        raise ValueError(f"{uri}: expected models:/NAME@ALIAS or models:/NAME/VERSION")
    return found


def _place(client: Any, uri: str) -> tuple[str, str | None]:
    """Where a model lies, and the SHA-256 of its student, if that was written down."""
    logged = _LOGGED.fullmatch(uri)
    if logged:
        model = _found(
            lambda: client.get_logged_model(logged["id"]), lambda: f"{uri}: expected a logged model, found none"
        )
        return str(model.artifact_location), model.tags.get("sha256")
    wanted = _parsed(uri)
    name = wanted["name"]
    model = _found(
        lambda: client.get_registered_model(name), lambda: f"{uri}: expected a registered model, {_others(client)}"
    )
    version = wanted["version"] or model.aliases.get(wanted["alias"])
    if version is None:
        there = ", ".join(sorted(model.aliases)) or "none"
        hint = "; an evaluation of a registered student makes one" if wanted["alias"] == "champion" else ""
        raise ValueError(f"{uri}: expected an alias of {name}, which are: {there}{hint}")
    found = _found(
        lambda: client.get_model_version(name, str(version)),
        lambda: f"{uri}: expected a version, which are: {_versions(client, name)}",
    )
    return str(client.get_model_version_download_uri(name, str(version))), found.tags.get("sha256")


def _found(ask: Callable[[], Any], problem: Callable[[], str]) -> Any:
    """What the store has; ``ValueError`` with the problem where it has nothing of the kind."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise ValueError(problem()) from error


def _versions(client: Any, name: str) -> str:
    numbers = sorted(int(found.version) for found in client.search_model_versions(f"name = '{name}'"))
    return ", ".join(map(str, numbers)) or "none"


def _others(client: Any) -> str:
    names = ", ".join(sorted(model.name for model in client.search_registered_models()))
    return f"which are: {names}" if names else "found none at all"


def _download(place: str, folder: str, store: str) -> None:
    from mlflow.artifacts import download_artifacts

    download_artifacts(artifact_uri=place, dst_path=folder, tracking_uri=store)


def _checked(folder: Path, uri: str, digest: str | None) -> Path:
    """The bundle within the model."""
    found = next(iter(sorted(folder.rglob("MLmodel"))), None)
    bundle = found.parent / "data" / "bundle" if found else folder
    model = bundle / "models" / "model.pt"
    if found is None or not model.is_file():
        raise ValueError(
            f"{uri}: expected a student that medkd has logged, with its bundle, found another kind of model"
        )
    wanted = digest or _written_down(found)
    if wanted and sha256(model) != wanted:
        raise ValueError(
            f"{uri}: expected the student of SHA-256 {wanted}, found {sha256(model)}: it was changed since"
        )
    return bundle


def _written_down(mlmodel: Path) -> str | None:
    import yaml

    content = yaml.safe_load(mlmodel.read_text(encoding="utf-8"))
    digest = (content.get("metadata") or {}).get("sha256")
    return str(digest) if digest else None
