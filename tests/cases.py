"""A bundle with a small dataset and the settings that make a training of it take seconds."""

import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from .helpers import bundle_command, run_bundle

ROOT = Path(__file__).resolve().parents[1]
QUICK = {"max_epochs": 3, "epoch_length": 2, "val_interval": 1, "num_workers": 0, "progress": "false"}


@dataclass
class Case:
    """A bundle, its data, and how to run it."""

    bundle: Path
    data: Path
    settings: dict[str, Any]  # of train.yaml
    channels: int  # of an image
    traced: bool  # exported by tracing; scripted otherwise
    score_header: str  # of cases.csv
    score_line: str  # a pattern of its lines
    scores: int  # how many there are
    summary: str  # what summary.csv tells apart
    key_metric: str = "val_mean_dice"

    def files(self, configs: list[str]) -> list[Path]:
        return [self.bundle / "configs" / name for name in configs]  # an absolute name stays as it is

    def training(self, root: Path, **overrides: Any) -> dict[str, Any]:
        """The settings of a training that ends in ``root``."""
        return {"bundle_root": root, "dataset_dir": self.data, **self.settings, **overrides}

    def train(self, root: Path, *extra: str, check: bool = True, **overrides: Any) -> CompletedProcess[str]:
        return self.run(["train.yaml", *extra], check=check, **self.training(root, **overrides))

    def run(self, configs: list[str], *, check: bool = True, **overrides: Any) -> CompletedProcess[str]:
        return run_bundle(self.files(configs), check=check, **overrides)

    def command(self, configs: list[str], **overrides: Any) -> list[str]:
        """What a user types: for what must be a program of its own."""
        return [sys.executable, *bundle_command(self.files(configs), **overrides)]
