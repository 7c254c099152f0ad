"""The kept student as an MLflow model of its run, and as a version of a registered model."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from medkd.files import sha256
from medkd.handlers.saved_model import save_student

__all__ = ["log_student", "register"]

_logger = logging.getLogger(__name__)


def log_student(
    client: Any,
    run_id: str,
    *,
    bundle_dir: str | Path,
    model_path: str | Path,
    teacher: str | Path | None = None,
    registered_as: str | None = None,
    anonymous: bool = False,
) -> str | None:
    """Log a student as a model of its run, and register it as a version that the alias ``candidate`` leads to.

    The run's tag ``medkd.model_id`` names the model, ``medkd.model_version`` the version (``NAME/3``).

    Args:
        client: an ``MlflowClient``. If its server is lost meanwhile, all of it is done again where the run goes on.
        run_id: of the run.
        bundle_dir: the folder with the bundle's ``configs``.
        model_path: the student's file.
        teacher: the teacher's file, which goes along with a student that is registered: a server distils from it again.
        registered_as: the registered model, which is made if there is none; ``None``: it is not registered.
        anonymous: leave out the ``dataset_dir`` that stands in a configuration.

    Returns:
        The model's id; ``None`` if there is no student, or, with a warning, if it does not run in the bundle.
    """
    if not Path(model_path).is_file():
        return None
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        try:
            save_student(model, bundle_dir, model_path, teacher=teacher if registered_as else None, anonymous=anonymous)
        except Exception as error:  # noqa: BLE001 - a network can raise anything; the student itself is kept all the same
            _logger.warning("%s: expected a student that runs in %s, found: %s", model_path, bundle_dir, error)
            return None
        tags = {"sha256": sha256(model_path)}
        return _whole(client, lambda: _log(client, run_id, model, tags, registered_as))


def register(client: Any, run_id: str, name: str) -> str:
    """Make a version of a registered model of the model that a run has logged; ``candidate`` leads to it from now on.

    Args:
        client: an ``MlflowClient``.
        run_id: of a run whose student was logged.
        name: of the registered model, which is made if there is none.

    Returns:
        The version's number.

    Raises:
        ValueError: if the run has no model.
    """
    model_id = client.get_run(run_id).data.tags.get("medkd.model_id")
    if not model_id:
        raise ValueError(f"run {run_id}: expected the tag medkd.model_id of a student that was logged, found none")
    model = client.get_logged_model(model_id)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
    # The place and not models:/ID, which MLflow would look for where the process tracks by default.
    own = {key: value for key, value in model.tags.items() if not key.startswith("mlflow.")}
    made = client.create_model_version(name, model.artifact_location, run_id=run_id, tags=own, model_id=model_id)
    client.set_registered_model_alias(name, "candidate", made.version)
    client.set_tag(run_id, "medkd.model_version", f"{name}/{made.version}")
    _tell_model(client, model_id, name, str(made.version))
    return str(made.version)


def _tell_model(client: Any, model_id: str, name: str, version: str) -> None:
    """Its page says "Not registered" without this tag, which a server sets by itself and a local store does not."""
    known = json.loads(client.get_logged_model(model_id).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    if (name, version) not in {(one["name"], str(one["version"])) for one in known}:
        told = json.dumps([*known, {"name": name, "version": version}])
        client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: told})


def _log(client: Any, run_id: str, folder: Path, tags: Mapping[str, str], registered_as: str | None) -> str:
    experiment = client.get_run(run_id).info.experiment_id
    told = {**resolve_tags(), **tags}  # who made it and with what, as its page shows it
    made = client.create_logged_model(experiment, "student", source_run_id=run_id, tags=told)
    described = Model.load(str(folder))
    described.model_id, described.run_id = made.model_id, made.source_run_id
    described.save(str(folder / "MLmodel"))
    client.log_model_artifacts(made.model_id, str(folder))
    client.finalize_logged_model(made.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step=0)])
    client.set_tag(run_id, "medkd.model_id", made.model_id)
    if registered_as:
        register(client, run_id, registered_as)
    return str(made.model_id)


def _whole(client: Any, work: Callable[[], str]) -> str:
    """The work; anew if the client has changed to another store within it, which knows nothing of what was made before."""
    store = client.tracking_uri
    try:
        return work()
    except MlflowException:
        if client.tracking_uri == store:
            raise
        return work()
