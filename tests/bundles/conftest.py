"""Each bundle with a small dataset and the settings that make a training of it take seconds."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from medkd.datasets import make_cardiac_phantoms

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Case:
    """A bundle, its data, and how to run it."""

    bundle: Path
    data: Path
    settings: dict[str, Any] = field(default_factory=dict)

    def command(self, configs: list[str], **overrides: Any) -> list[str]:
        files = str([f"configs/{name}" for name in configs]) if len(configs) > 1 else f"configs/{configs[0]}"
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", files]
        for key, value in overrides.items():
            command += [f"--{key}", str(value)]
        return command

    def train(self, root: Path, *extra: str, **overrides: Any) -> subprocess.CompletedProcess[str]:
        return self.run(
            ["train.yaml", *extra], bundle_root=root, dataset_dir=self.data, **{**self.settings, **overrides}
        )

    def run(self, configs: list[str], *, check: bool = True, **overrides: Any) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(configs, **overrides), cwd=self.bundle, capture_output=True, text=True, env=environment()
        )
        if check and done.returncode:
            raise AssertionError(done.stdout[-3000:] + done.stderr[-6000:])
        return done


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    return {**kept, "OMP_NUM_THREADS": "1", **more}


@pytest.fixture(scope="session", params=["confkd_cardiac_mri_segmentation"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    data = tmp_path_factory.mktemp("data") / "phantoms"
    make_cardiac_phantoms(data, strong=1, weak=3, validation=2, test=2, size=64, slices=3)
    settings = {
        "max_epochs": 3,
        "epoch_length": 2,
        "val_interval": 1,
        "patch_size": [32, 32],
        "volumes_per_batch": 2,
        "num_workers": 0,
        "progress": "false",
        "network_def#channels": [4, 8, 16, 16],
    }
    return Case(ROOT / "bundles" / request.param, data, settings)


@pytest.fixture(scope="session")
def trained(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a finished training, tracked with the bundle's own settings."""
    root = tmp_path_factory.mktemp("trained")
    case.train(root, tracking="configs/tracking.yaml")
    return root
