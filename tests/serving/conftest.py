"""Bundles that a server could serve: the real ones, with small networks and random weights."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ConfigParser

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
SMALL = {
    "confkd_cardiac_mri_segmentation": {"network_def#channels": [4, 8, 16, 16], "patch_size": [32, 32]},
    "kdas_polyp_segmentation": {"image_size": [64, 96]},
    "ikdmil_histology_segmentation": {"image_size": [64, 48]},
}


def edit(path: Path, **changes) -> None:
    """Set keys of a configuration file; ``None`` removes one."""
    parser = ConfigParser()
    parser.read_config(str(path))
    for key, value in changes.items():
        if value is None:
            parent, _, name = key.rpartition("#")
            holder = parser[parent] if parent else parser.config
            del holder[int(name) if name.isdigit() else name]
        else:
            parser[key] = value
    path.write_text(yaml.safe_dump(parser.config, sort_keys=False))


def small_copy(name: str, folder: Path) -> Path:
    """A bundle whose configurations are a test's size, with weights that fit."""
    bundle = folder / name
    shutil.copytree(BUNDLES / name, bundle, ignore=shutil.ignore_patterns("models", "checkpoints", "eval", "data"))
    for config in ("inference.yaml", "train.yaml"):
        edit(bundle / "configs" / config, **SMALL[name])
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    torch.manual_seed(0)
    (bundle / "models").mkdir()
    weights = parser.get_parsed_content("network_def").state_dict()
    torch.save({"model": weights}, bundle / "models" / "model.pt")
    return bundle


@pytest.fixture
def volume_bundle(tmp_path):
    return small_copy("confkd_cardiac_mri_segmentation", tmp_path)


@pytest.fixture
def picture_bundle(tmp_path):
    return small_copy("ikdmil_histology_segmentation", tmp_path)
