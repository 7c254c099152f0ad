"""What a network is given by its bundle's inferer: to compare runtimes on, and to calibrate 8 bits with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medkd.bundle import read_bundle
from medkd.networks.checkpoints import load_model

__all__ = ["network_inputs"]


@torch.no_grad()
def network_inputs(
    bundle: Path,
    images: str | Path | Sequence[str] | None = None,
    model_path: str | Path | None = None,
    *,
    limit: int = 8,
    spread: bool = False,
) -> tuple[nn.Module, list[Tensor]]:
    """The trained network in eval mode, and tensors that the bundle's inferer gives it for some images.

    Args:
        bundle: its folder.
        images: a file or folder as inference takes it, or a list of files; inference's own by default.
        model_path: the weights; ``models/model.pt`` by default.
        limit: of tensors.
        spread: from as many images as there are up to the limit, evenly over all, and of each at random over its windows, for the
            first ones of a volume are its corner; otherwise the first tensors of the first images.
    """
    model = Path(model_path or bundle / "models" / "model.pt")
    parser = read_bundle(bundle, model).inference
    parser.update({"device": "cpu"})
    if images is not None and not isinstance(images, (str, Path)):
        parser.update({"dataset#data": [{"image": str(path)} for path in images]})
    elif images is not None:
        parser.update({"dataset_dir": str(Path(images).resolve())})
    network = load_model(model, parser.get_parsed_content("network_def")).eval()
    inferer, dataset = parser.get_parsed_content("inferer"), parser.get_parsed_content("dataset")
    count = min(len(dataset), limit)
    inputs: list[Tensor] = []
    random = np.random.default_rng(0) if spread else None  # one for all images: the same place in each is not drawn
    for number in range(count):
        item = dataset[number * len(dataset) // count if spread else number]
        recorder = _Recorder(network, limit // count if spread else limit - len(inputs), random)
        inferer(torch.as_tensor(item["image"])[None], recorder)
        inputs += recorder.inputs
        if len(inputs) >= limit:
            break
    return network, inputs


class _Recorder:
    """The network, which keeps some of what it is given: the first, or drawn evenly (Vitter's algorithm R)."""

    def __init__(self, network: nn.Module, most: int, random: np.random.Generator | None) -> None:
        self.network, self.most, self.random = network, most, random
        self.inputs: list[Tensor] = []
        self.seen = 0

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        self.seen += 1
        place = len(self.inputs)
        if place >= self.most and self.random is not None:
            place = int(self.random.integers(self.seen))
        if place < self.most:
            self.inputs[place : place + 1] = [torch.as_tensor(x).as_subclass(Tensor).clone()]
        return self.network(x, *args, **kwargs)
