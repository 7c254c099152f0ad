"""What augmenting KDAS's batches as a whole saves: MONAI's transforms image by image against medkd's of a batch, in turns.

    python benchmarks/augmentation.py

The same kinds of change, 16 images with masks at three sizes, one thread; medians of the rounds.
"""

import argparse
import statistics
import sys
import time
import warnings

import torch

warnings.filterwarnings("ignore")

from monai.transforms import (  # noqa: E402
    Compose,
    NormalizeIntensityd,
    RandAffined,
    RandFlipd,
    RandRotate90d,
    RandScaleIntensityd,
    RandShiftIntensityd,
)

from medkd.transforms import RandAffineBatchd, RandIntensityBatchd  # noqa: E402

KEYS, MODES, MEAN, STD = ["image", "label"], ["bilinear", "nearest"], [127 / 255] * 3, [128 / 255] * 3
EACH = Compose(
    [
        RandFlipd(KEYS, prob=0.5, spatial_axis=0),
        RandFlipd(KEYS, prob=0.5, spatial_axis=1),
        RandRotate90d(KEYS, prob=0.5),
        RandAffined(KEYS, prob=0.8, rotate_range=0.5, scale_range=0.15, mode=MODES, padding_mode="zeros"),
        RandScaleIntensityd("image", factors=0.2, prob=0.8, channel_wise=True),
        RandShiftIntensityd("image", offsets=0.1, prob=0.8),
        NormalizeIntensityd("image", subtrahend=MEAN, divisor=STD, channel_wise=True),
    ]
)
WHOLE = Compose(
    [
        RandAffineBatchd(KEYS, mode=MODES, rotate_range=0.5, scale_range=0.15, prob=0.8),
        RandIntensityBatchd("image", factors=0.2, offsets=0.1, prob=0.8, mean=MEAN, std=STD),
    ]
)


def each(items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    changed = [EACH({key: value.clone() for key, value in item.items()}) for item in items]
    return {key: torch.stack([item[key] for item in changed]) for key in KEYS}


def whole(items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return WHOLE({key: torch.stack([item[key].clone() for item in items]) for key in KEYS})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print("| 16 images of | image by image, ms | as a batch, ms | ratio |\n|---|---|---|---|")
    for side in (192, 256, 352):
        items = [{"image": torch.rand(3, side, side), "label": torch.rand(1, side, side).round()} for _ in range(16)]
        times: dict[str, list[float]] = {"each": [], "whole": []}
        for _ in range(rounds):
            for name, function in (("each", each), ("whole", whole)):
                begun = time.perf_counter()
                function(items)
                times[name].append(time.perf_counter() - begun)
        one, other = (1000 * statistics.median(times[name]) for name in ("each", "whole"))
        print(f"| {side}² | {one:.0f} | {other:.0f} | {other / one:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
