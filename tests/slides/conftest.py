"""What the tests of slides share: a slide whose pixels are known, a network that sees its tumour, and a run over it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.engines import SupervisedEvaluator
from torch import nn

from medkd.handlers.slide_maps import SlideMaps
from medkd.slides import SlideTiles, open_maps, plan_slides


class SeesTumour(nn.Module):
    """1 where a pixel of 0 to 255 has the colour of the synthetic tumour, 0 elsewhere: no softness, no context."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x[:, 1:2] < 130).float()


class ToFloat:
    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        return {**item, "image": item["image"].as_tensor().float()}


@dataclass
class Run:
    """One inference over a slide or a folder of slides, as the bundle's configuration has it."""

    source: Path
    output: Path
    weights: Path
    network: nn.Module
    batch_size: int = 4
    num_workers: int = 0
    settings: dict[str, Any] | None = None

    def __call__(self, **options: Any) -> "Run":
        options = {"downsample": 1, "tile_size": 128, "halo": 16, "map_downsample": 4} | options
        self.plans = plan_slides(self.source, **options)
        self.maps = open_maps(self.plans, self.output, self.weights, self.settings)
        dataset = SlideTiles(self.maps, ToFloat())
        self.writer = SlideMaps(self.maps)
        self.writer.finish()
        if len(dataset):
            loader = torch.utils.data.DataLoader(
                dataset, batch_sampler=dataset.batches(self.batch_size), num_workers=self.num_workers
            )
            evaluator = SupervisedEvaluator(
                device=torch.device("cpu"), val_data_loader=loader, network=self.network, val_handlers=[self.writer],
                amp=False, decollate=True,
                prepare_batch=lambda batch, *_, **__: (batch["image"], None),
                postprocessing=lambda item: item,
            )  # fmt: skip
            evaluator.run()
        return self

    def result(self, suffix: str = "_probability.ome.tif") -> Path:
        return self.output / f"{self.source.stem}{suffix}"


@pytest.fixture
def new_run(tmp_path):
    """Runs of the exact network, or of another; results in ``tmp_path/out``."""

    def make(source: Path, **options: Any) -> Run:
        weights = tmp_path / "model.pt"
        if not weights.exists():
            weights.write_bytes(b"any")
        settings = {"output": tmp_path / "out", "weights": weights, "network": SeesTumour()} | options
        return Run(source, **settings)

    return make
