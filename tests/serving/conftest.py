"""Bundles that a server could serve: the real ones, with small networks and random weights."""

import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ConfigParser

from medkd.datasets import make_cardiac_phantoms
from medkd.serving import deploy

from ..methods.method import methods
from .monai_label import Server, usable

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
METHODS = methods()
QUICK = {"num_workers": 0, "progress": False, "epoch_length": 2}


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
    edit(bundle / "configs" / "inference.yaml", **METHODS[name].small)
    if (bundle / "configs" / "slides.yaml").is_file():
        edit(bundle / "configs" / "slides.yaml", downsample=1)
    edit(bundle / "configs" / "train.yaml", **METHODS[name].small, **QUICK, **METHODS[name].training)
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "train.yaml"))
    torch.manual_seed(0)
    for key, path in (("network_def", "models/model.pt"), ("teacher_def", "checkpoints/teacher.pt")):
        if parser.get(key) is not None:
            (bundle / path).parent.mkdir()
            torch.save({"model": parser.get_parsed_content(key).state_dict()}, bundle / path)
    return bundle


@pytest.fixture
def volume_bundle(tmp_path):
    return small_copy("confkd_cardiac_mri_segmentation", tmp_path)


@pytest.fixture
def picture_bundle(tmp_path):
    return small_copy("ikdmil_histology_segmentation", tmp_path)


@pytest.fixture(scope="session")
def label_env() -> Path:
    """Python of the server's environment."""
    folder = Path(os.environ.get("MEDKD_LABEL_ENV", BUNDLES.parent / ".label-env"))
    if not (folder / "bin" / "python").is_file():
        pytest.skip(f"no MONAI Label environment in {folder}: `make label-env`")
    return usable(folder / "bin" / "python")


def labelled_hearts(label_env: Path, folder: Path, *bundles: Path) -> Server:
    """A server that runs with some bundles and five synthetic hearts, whose labels it has."""
    make_cardiac_phantoms(folder / "heart", strong=3, weak=0, validation=1, test=1, size=64, slices=3)
    shutil.copytree(folder / "heart" / "images", folder / "studies")
    for bundle in bundles:
        deploy(bundle, folder / "app")
    made = Server(label_env, folder / "app", folder / "studies", folder).start()
    for label in sorted((folder / "heart" / "labels").iterdir()):
        made.put_label(label.name.removesuffix(".nii.gz"), label)
    return made
