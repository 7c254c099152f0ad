"""What a MONAI Label server demands of a bundle, checked before it is served.

The server itself says little: weights that do not fit are loaded as far as they do (``strict=False``), a missing key
becomes an empty list, and any ``models/*.pt`` may be taken for the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from medkd.networks.checkpoints import load_model
from medkd.serving.trial import trial_problems

__all__ = ["ServedBundle", "deployment_problems", "modality", "read_bundle", "read_metadata"]

_INFERENCE_KEYS = ("bundle_root", "device", "network_def", "preprocessing", "inferer", "postprocessing")
_TRAINING_KEYS = (
    "network",
    "train#trainer#max_epochs",
    "train#dataset#data",
    "train#handlers",
    "validate#dataset#data",
)
_TYPES = ("deepedit", "deepgrow", "detection", "classification")  # which the server reads out of a folder's name


@dataclass(frozen=True)
class ServedBundle:
    """A bundle as the server reads it.

    Attributes:
        path: its folder.
        metadata: of ``metadata.json``.
        inference: the configuration of inference.
        training: that of training; ``None``: the server cannot retrain it.
    """

    path: Path
    metadata: dict[str, Any]
    inference: ConfigParser
    training: ConfigParser | None

    @property
    def labels(self) -> dict[str, int]:
        """Names (as the server gives them, in small letters) and values of what is segmented."""
        outputs = self.metadata["network_data_format"]["outputs"]
        channels = next(iter(outputs.values()))["channel_def"]
        return {name.lower(): int(value) for value, name in channels.items() if name.lower() != "background"}

    @property
    def pictures(self) -> bool:
        """Whether its images are pictures in RGB; otherwise they are volumes."""
        return bool(next(iter(self.metadata["network_data_format"]["inputs"].values()))["num_channels"] == 3)

    @property
    def modality(self) -> str:
        """Of its images, as in DICOM; empty where the metadata do not say."""
        return modality(self.metadata)


def deployment_problems(bundle: str | Path, name: str | None = None) -> list[str]:
    """Everything that would make a server refuse a bundle, or serve something else than its student.

    Args:
        bundle: the bundle's folder, trained: with ``models/model.pt``.
        name: what the server will call it; the folder's name by default.

    Returns:
        For each problem the file or key, what was expected, what was found and the remedy. Where the files can be
        read and the weights fit, a synthetic image is sent the way that the server would send it.
    """
    path = Path(bundle).resolve()
    problems = [*_name_problems(name or path.name), *_weights_problems(path)]
    try:
        served = read_bundle(path)
    except ValueError as error:
        return [*problems, str(error)]
    problems += [*_key_problems(served), *_label_problems(served), *_handler_problems(served)]
    return problems or _running_problems(served)


def read_bundle(path: Path) -> ServedBundle:
    """The bundle's configurations, as the server finds them.

    Raises:
        ValueError: if one is missing, ambiguous or cannot be read.
    """
    content = read_metadata(path)
    inference = _config(path, "inference")
    if inference is None:
        raise ValueError(
            f"{path / 'configs'}: expected inference.yaml or inference.json, found neither; MONAI Label does not look for others"
        )
    return ServedBundle(path, content, inference, _config(path, "train"))


def read_metadata(path: Path) -> dict[str, Any]:
    """The content of a bundle's ``metadata.json``.

    Raises:
        ValueError: if there is none that can be read.
    """
    metadata = path / "configs" / "metadata.json"
    try:
        content: dict[str, Any] = json.loads(metadata.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{metadata}: expected the bundle's metadata, found none that can be read ({error})"
        ) from error
    return content


def modality(metadata: dict[str, Any]) -> str:
    """Of a bundle's images, as in DICOM; empty where its metadata do not say."""
    return str(next(iter(metadata["network_data_format"]["inputs"].values())).get("modality", ""))


def _config(path: Path, name: str) -> ConfigParser | None:
    """The one configuration of a name; ``None`` where there is none."""
    files = [path / "configs" / f"{name}{suffix}" for suffix in (".json", ".yaml")]
    there = [file for file in files if file.is_file()]
    if len(there) == 2:
        raise ValueError(
            f"{there[1]}: expected one of it and {there[0].name}, found both; the server reads the JSON alone"
        )
    if not there:
        return None
    parser = ConfigParser()
    try:
        parser.read_config(str(there[0]))
    except Exception as error:  # whatever YAML, JSON or MONAI raise
        raise ValueError(f"{there[0]}: expected a configuration, found none that can be read ({error})") from error
    parser.update({"bundle_root": str(path)})
    return parser


def _name_problems(name: str) -> Iterator[str]:
    if not name.replace("_", "").replace("-", "").isalnum():
        yield f"{name}: expected a name of letters, digits, - and _, for the server's list of models; give another --name"
    found = [kind for kind in _TYPES if kind in name.lower()]
    if found:
        yield f"{name}: expected a name without {found[0]!r}, which the server takes for the kind of model; give another --name"


def _weights_problems(path: Path) -> Iterator[str]:
    """The server offers every ``models/*.pt``, the shortest name first."""
    models = sorted((path / "models").glob("*.pt"))
    if path / "models" / "model.pt" not in models:
        yield f"{path / 'models' / 'model.pt'}: expected the trained student, found none; train first, or export it there"
    others = [model.name for model in models if model.name != "model.pt"]
    if others:
        yield f"{path / 'models'}: expected model.pt alone, found {', '.join(others)} too; move them to checkpoints/"


def _key_problems(served: ServedBundle) -> Iterator[str]:
    yield from _absent(served, "inference", served.inference, _INFERENCE_KEYS)
    if served.training is not None:
        yield from _absent(served, "train", served.training, _TRAINING_KEYS)


def _absent(served: ServedBundle, name: str, parser: ConfigParser, keys: tuple[str, ...]) -> Iterator[str]:
    for key in keys:
        if parser.get(key) is None:
            yield f"{served.path / 'configs' / name}.*: expected the key {key}, found none; the server reads or sets it"


def _label_problems(served: ServedBundle) -> Iterator[str]:
    where = f"{served.path / 'configs' / 'metadata.json'}: network_data_format"
    try:
        labels = served.labels
    except (KeyError, StopIteration, ValueError, AttributeError, TypeError) as error:
        yield f"{where}: expected outputs with a channel_def such as {{'0': 'background', '1': 'polyp'}}, found {error!r}"
        return
    if not labels:
        yield f"{where}: expected a label beside the background in channel_def, found none; readers could draw nothing"


def _handler_problems(served: ServedBundle) -> Iterator[str]:
    """The server puts its own handler into the list."""
    handlers = served.training.get("train#handlers", []) if served.training is not None else []
    if handlers is None:
        return
    literal = isinstance(handlers, list) and all(
        isinstance(h, dict) and isinstance(h.get("_target_"), str) for h in handlers
    )
    if not literal:
        yield (
            f"{served.path / 'configs' / 'train'}.*: expected train#handlers as a list of mappings with a _target_, "
            f"found {handlers if isinstance(handlers, str) else type(handlers).__name__}; the server edits that list"
        )


def _running_problems(served: ServedBundle) -> list[str]:
    model = served.path / "models" / "model.pt"
    try:
        served.inference.update({"device": "cpu"})
        network = load_model(model, served.inference.get_parsed_content("network_def"))
    except Exception as error:  # noqa: BLE001 - a configuration can raise anything
        return [f"{model}: {error.__cause__ or error}; train again, or name the network it belongs to in network_def"]
    return list(trial_problems(served.inference, network.eval(), served.labels, picture=served.pictures))
