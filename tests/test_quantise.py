"""8 bits where they cost nothing, float32 where they would, and no file where nothing helps."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medkd.export import FORMATS
from medkd.networks import ExportedNetwork
from medkd.quantise import quantise


class Fragile(nn.Module):
    """A plain part, and one whose result is the small difference of two large numbers, which 8 bits cannot hold."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv2d(1, 4, 3, padding=1)
        self.large = nn.Conv2d(1, 2, 1, bias=False)
        self.small = nn.Conv2d(2, 4, 1, bias=False)
        with torch.no_grad():
            self.large.weight[:] = torch.tensor([1000.0, 1001.0]).view(2, 1, 1, 1)
            self.small.weight[:] = torch.tensor([[-1.0, 1.0]] * 4)[..., None, None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.plain(x) + self.small(self.large(x))


@pytest.fixture(scope="module")
def inputs() -> list[np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, 1, 16, 16, generator=generator).numpy() for _ in range(4)]


def _exported(folder: Path, network: nn.Module) -> Path:
    torch.manual_seed(0)
    path = folder / "whole.onnx"
    FORMATS["onnx"](network.eval(), torch.zeros(1, 1, 16, 16), path, {})
    return path


def _score(network: nn.Module, inputs: list[np.ndarray]):
    """Minus the error relative to the signal, which no bundle would take; 0 is best."""

    def score(file: Path) -> float:
        pairs = [(ExportedNetwork(str(file))(x), network(x)) for x in map(torch.from_numpy, inputs)]
        return -max(float((found - expected).norm() / expected.norm()) for found, expected in pairs)

    return torch.no_grad()(score)


@pytest.mark.filterwarnings("ignore")
def test_what_bears_it_is_quantised_whole(tmp_path: Path, inputs: list[np.ndarray]) -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 64, 3, padding=1), nn.Conv2d(64, 2, 1)
    )
    path = _exported(tmp_path, network)
    found = quantise(path, tmp_path / "int8.onnx", inputs, score=_score(network, inputs), bound=0.3)
    assert (found.kept, found.layers) == ((), 3)
    assert found.before > -1e-5 > found.score  # it is another network
    assert (tmp_path / "int8.onnx").stat().st_size < 0.6 * path.stat().st_size


@pytest.mark.filterwarnings("ignore")
def test_images_of_several_sizes_calibrate_it(tmp_path: Path, inputs: list[np.ndarray]) -> None:
    network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1)).eval()
    path = tmp_path / "whole.onnx"
    FORMATS["onnx"](network, torch.zeros(1, 1, 32, 64), path, {}, [2, 3])
    sizes = [
        np.random.default_rng(0).normal(size=(1, 1, *size)).astype("f4") for size in ((32, 64), (64, 32), (96, 96))
    ]
    found = quantise(path, tmp_path / "int8.onnx", sizes, score=_score(network, sizes), bound=0.3)
    assert (found.kept, found.layers) == ((), 2)


@pytest.mark.filterwarnings("ignore")
def test_where_nothing_helps_there_is_no_file_and_every_attempt_is_told(
    tmp_path: Path, inputs: list[np.ndarray]
) -> None:
    path, scores = _exported(tmp_path, Fragile()), iter([0.9, 0.5, 0.6])
    with pytest.raises(ValueError, match=r"float32, 0\.9000; found 0\.5000 with 0 of 3 .*, 0\.6000 with 2 of 3 layers"):
        quantise(path, tmp_path / "int8.onnx", inputs, score=lambda _: next(scores), bound=0.05)
    assert not (tmp_path / "int8.onnx").exists()


@pytest.mark.filterwarnings("ignore")
def test_of_more_layers_the_fragile_ones_are_left_out(tmp_path: Path, inputs: list[np.ndarray]) -> None:
    network = nn.Sequential(
        Fragile(), nn.ReLU(), nn.Conv2d(4, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 2, 3, padding=1)
    )
    path = _exported(tmp_path, network)
    found = quantise(path, tmp_path / "int8.onnx", inputs, score=_score(network, inputs), bound=0.3)
    assert found.layers == 5
    assert len(found.kept) == 2  # the large numbers and their difference
    assert found.score >= found.before - 0.3


def test_a_bound_below_zero_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bound must be >= 0, got -1"):
        quantise(tmp_path / "a", tmp_path / "b", [], score=lambda _: 0.0, bound=-1)
