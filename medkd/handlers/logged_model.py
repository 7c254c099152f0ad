"""The kept student as an MLflow model: the bundle that it runs in, loaded by ``medkd.bundle.pyfunc``."""

from __future__ import annotations

import importlib
import json
import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.entities import LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.types import Schema, TensorSpec
from numpy.typing import NDArray

from medkd.bundle.parts import copy_parts
from medkd.bundle.pyfunc import PyfuncStudent, bundled_student
from medkd.bundle.reading import read_metadata
from medkd.bundle.scripts import find_scripts
from medkd.files import atomic_path, sha256

__all__ = ["log_student", "register", "save_student"]

_logger = logging.getLogger(__name__)

_NEEDED = ("medkd", "mlflow", "monai", "torch")
_BLOCKS = 2  # of the smallest size that a network takes: an example's sides


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


def save_student(
    folder: str | Path,
    bundle_dir: str | Path,
    model_path: str | Path,
    *,
    teacher: str | Path | None = None,
    anonymous: bool = False,
) -> None:
    """Write a student as an MLflow model: a bundle (``data``), its signature, an example of noise, what it needs.

    Args:
        folder: to make.
        bundle_dir: the bundle's folder.
        model_path: the student's file.
        teacher: the teacher's file, if it is to go along.
        anonymous: leave out the ``dataset_dir`` that stands in a configuration.
    """
    with tempfile.TemporaryDirectory() as temporary:
        bundle = Path(temporary) / "bundle"
        copy_parts(bundle_dir, bundle, student=model_path, teacher=False)
        if teacher is not None and Path(teacher).is_file():
            (bundle / "checkpoints").mkdir()
            shutil.copy2(teacher, bundle / "checkpoints" / "teacher.pt")
        if anonymous:
            _without_place(bundle / "configs")
        network, shape = PyfuncStudent(bundled_student(bundle)), _input_shape(read_metadata(bundle))
        find_scripts(bundle_dir)  # not those of the copy, which goes
        example = _noise([1, *(side if isinstance(side, int) else _BLOCKS * _block(side) for side in shape)])
        output = network.predict(example)
        free = [-1, output.shape[1], *(side if isinstance(side, int) else -1 for side in shape[1:])]
        _pyfunc().save_model(
            folder,
            loader_module="medkd.bundle.pyfunc",
            data_path=str(bundle),
            signature=ModelSignature(
                Schema([TensorSpec(np.dtype("float32"), (-1, *(s if isinstance(s, int) else -1 for s in shape)))]),
                Schema([TensorSpec(np.dtype("float32"), tuple(free))]),
            ),
            input_example=example,
            pip_requirements=[f"{name}=={_public(metadata.version(name))}" for name in _NEEDED],
            metadata={"sha256": sha256(model_path)},
        )


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
    made = client.create_model_version(
        name, model.artifact_location, run_id=run_id, tags=dict(model.tags), model_id=model_id
    )
    client.set_registered_model_alias(name, "candidate", made.version)
    client.set_tag(run_id, "medkd.model_version", f"{name}/{made.version}")
    return str(made.version)


def _log(client: Any, run_id: str, folder: Path, tags: Mapping[str, str], registered_as: str | None) -> str:
    experiment = client.get_run(run_id).info.experiment_id
    made = client.create_logged_model(experiment, "student", source_run_id=run_id, tags=dict(tags))
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


def _pyfunc() -> Any:
    """MLflow's module, which warns of its own type hints when it is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("mlflow.pyfunc")


def _input_shape(content: Mapping[str, Any]) -> list[int | str]:
    """Channels and sides of the network's input, as the metadata have them: ``[3, "32*n", "32*n"]``."""
    image = next(iter(content["network_data_format"]["inputs"].values()))
    return [int(image["num_channels"]), *image["spatial_shape"]]


def _block(side: str) -> int:
    """What a side is a multiple of: ``32`` of ``"32*n"``; of anything else, 32."""
    found = re.fullmatch(r"(\d+)\s*\*\s*\w+", side)
    return int(found[1]) if found else 32


def _noise(shape: list[int]) -> NDArray[np.float32]:
    """No image of anybody; in halves, which are short in a file of text."""
    found: NDArray[np.float32] = (np.random.default_rng(0).integers(-4, 5, shape) / 2).astype(np.float32)
    return found


def _without_place(configs: Path) -> None:
    """As ``medkd.handlers.anonymous`` does it with what was executed, but in the bundle's own files."""
    for path in configs.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        other = re.sub(r"(?m)^dataset_dir:.*$", "dataset_dir: $@bundle_root + '/data'", text)
        if other != text:
            with atomic_path(path) as partial:
                partial.write_text(other, encoding="utf-8")
    for path in configs.glob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if "dataset_dir" in content:
            path.write_text(
                json.dumps({**content, "dataset_dir": "$@bundle_root + '/data'"}, indent=2), encoding="utf-8"
            )


def _public(version: str) -> str:
    """Without what names a build (``2.9.0+cpu``), which no index has."""
    return version.partition("+")[0]
