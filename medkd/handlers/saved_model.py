"""The kept student as files of an MLflow model: the bundle that it runs in, loaded by ``medkd.bundle.pyfunc``."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from numpy.typing import NDArray

from medkd.bundle.parts import copy_parts
from medkd.bundle.pyfunc import PyfuncStudent, bundled_student
from medkd.bundle.reading import read_metadata
from medkd.bundle.scripts import find_scripts
from medkd.files import atomic_path, sha256

__all__ = ["save_student"]

_NEEDED = ("medkd", "mlflow", "monai", "torch")
_BLOCKS = 2  # of the smallest size that a network takes: an example's sides


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
