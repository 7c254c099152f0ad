"""Checkpoints in the official layouts, every tensor made from its key alone, as the recorded outputs were."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

REFERENCE = Path(__file__).parents[1] / "reference"


def official(name):
    """A state dict with the keys and shapes of ``{name}_state_dict_keys.json``."""
    shapes = json.loads((REFERENCE / f"{name}_state_dict_keys.json").read_text())
    return {key: _filled(key, shape) for key, shape in shapes.items()}


def _filled(key, shape):
    values = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype("float32")
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.long)
    if key.endswith("running_var"):
        return torch.as_tensor(np.abs(values) * 0.1 + 0.9)
    if len(shape) == 1:
        return torch.as_tensor((1 if key.endswith("weight") else 0) + 0.02 * values, dtype=torch.float32)
    return torch.as_tensor(values * np.sqrt(2 / np.prod(shape[1:])), dtype=torch.float32)


@pytest.fixture
def saved(tmp_path):
    def save(content):
        torch.save(content, tmp_path / "official.pth")
        return tmp_path / "official.pth"

    return save
