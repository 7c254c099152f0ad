"""A teacher as the model zoo has them: a bundle of MONAI alone, in JSON, of another orientation and spacing than its images."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.networks.nets import UNet

from medkd.datasets import make_cardiac_phantoms

NETWORK = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 4,
    "channels": [4, 8],
    "strides": [2],
    "norm": "batch",
}


def config(network: dict) -> dict:
    return {
        "imports": ["$import numpy as np"],
        "bundle_root": ".",
        "device": "$torch.device('cpu')",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/out'",
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [1.7, 1.7, 8.0], "mode": "bilinear"},
                {"_target_": "NormalizeIntensityd", "keys": "image"},
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [32, 32, 4], "overlap": 0.25},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image", "nearest_interp": False, "to_tensor": True},
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "separate_folder": False, "output_postfix": "seg"},
            ],
        },
    }  # fmt: skip


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms, half of them with their axes turned."""
    root = tmp_path_factory.mktemp("taught") / "data"
    make_cardiac_phantoms(root, strong=1, weak=2, validation=1, test=1, size=48, slices=5)
    for path in sorted((root / "images").glob("*.nii.gz"))[::2]:
        image = nibabel.load(path)
        nibabel.save(image.as_reoriented(np.array([[1, -1], [0, 1], [2, -1]])), path)
        for label in root.glob(f"*labels/{path.name}"):
            nibabel.save(nibabel.load(label).as_reoriented(np.array([[1, -1], [0, 1], [2, -1]])), label)
    return root


def write_bundle(root: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    network = UNet(**{key: value for key, value in NETWORK.items() if key != "_target_"})
    (root / "configs").mkdir(parents=True)
    (root / "models").mkdir()
    torch.save(network.state_dict(), root / "models" / "model.pt")  # bare, as the zoo has some
    (root / "configs" / "inference.json").write_text(json.dumps(config(NETWORK), indent=2))
    return root


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("zoo") / "teacher")
