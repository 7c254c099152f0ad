"""What stands in a bundle: its metadata and its configurations, not yet executed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai.bundle import ConfigParser  # slow to import, and `medkd bundle` needs none of it

__all__ = ["Bundle", "modality", "read_bundle", "read_metadata"]


@dataclass(frozen=True)
class Bundle:
    """A bundle's configurations, as a MONAI Label server reads them.

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


def read_bundle(path: Path) -> Bundle:
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
    return Bundle(path, content, inference, _config(path, "train"))


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
