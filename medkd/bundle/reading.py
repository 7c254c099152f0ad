"""What stands in a bundle: its metadata and its configurations, not yet executed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medkd.bundle.metadata import with_settings
from medkd.bundle.runtimes import PYTORCH, load_student, student_network
from medkd.bundle.scripts import find_scripts
from medkd.bundle.settings import adopt, settings_of

if TYPE_CHECKING:
    from monai.bundle import ConfigParser  # slow to import, and `medkd bundle` needs none of it
    from torch import nn

__all__ = ["Bundle", "modality", "read_bundle", "read_metadata"]


@dataclass(frozen=True)
class Bundle:
    """A bundle's configurations, as a MONAI Label server reads them.

    Attributes:
        path: its folder.
        metadata: of ``metadata.json``.
        inference: the configuration of inference.
        training: that of training; ``None``: the server cannot retrain it.
        model: the file of its student.
    """

    path: Path
    metadata: dict[str, Any]
    inference: ConfigParser
    training: ConfigParser | None
    model: Path

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

    @property
    def runtime(self) -> dict[str, str]:
        """What runs its student: the keys ``runtime`` and ``precision`` of the configuration of inference."""
        return {key: self.inference.get(key, default) for key, default in PYTORCH.items()}

    def run_by(self, runtime: str | None, precision: str | None) -> None:
        """Set them, where they are given."""
        given = {"runtime": runtime, "precision": precision}
        self.inference.update({key: value for key, value in given.items() if value is not None})

    def student(self) -> nn.Module:
        """The trained student in eval mode, in the runtime that the configuration of inference names.

        Raises:
            FileNotFoundError: if it was not trained, or not exported for that runtime.
            ValueError: if what is there does not fit.
        """
        definition = self.inference.get_parsed_content("network_def")
        network = student_network(definition, **self.runtime, model_path=self.model)
        return load_student(self.model, network).eval()


def read_bundle(path: Path, model: str | Path | None = None) -> Bundle:
    """The bundle's configurations, as the server finds them, with the settings of its student.

    Args:
        path: the bundle's folder.
        model: the student's file; ``models/model.pt`` by default. Where there is none, the files' settings hold.

    Raises:
        ValueError: if a configuration is missing, ambiguous or cannot be read, or the student's file is none.
    """
    find_scripts(path)
    content = read_metadata(path, model)
    inference = _config(path, "inference")
    if inference is None:
        raise ValueError(
            f"{path / 'configs'}: expected inference.yaml or inference.json, found neither; MONAI Label does not look for others"
        )
    training = _config(path, "train")
    student = Path(model or path / "models" / "model.pt")
    if student.is_file():
        for parser in (inference, training):
            adopt(parser, student) if parser is not None else None
    return Bundle(path, content, inference, training, student)


def read_metadata(path: Path, model: str | Path | None = None) -> dict[str, Any]:
    """The content of a bundle's ``metadata.json``, with the classes of its student.

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
    student = Path(model or path / "models" / "model.pt")
    return with_settings(content, settings_of(student)) if student.is_file() else content


def modality(metadata: dict[str, Any]) -> str:
    """Of a bundle's images, as in DICOM; empty where its metadata do not say."""
    return str(next(iter(metadata["network_data_format"]["inputs"].values())).get("modality", ""))


def _config(path: Path, name: str) -> ConfigParser | None:
    """The one configuration of a name; ``None`` where there is none."""
    from monai.bundle import ConfigParser

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
