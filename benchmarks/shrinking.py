"""How long a picture takes until it has the network's size: decoding, whole and reduced, and MONAI's filter and ours.

    python benchmarks/shrinking.py

JPEG's own scaling (Pillow's ``draft``) gives a half, a quarter or an eighth, where that is still as large as the target.
"""

import io
import statistics
import time
from collections.abc import Callable

import monai.transforms
import numpy as np
import torch
from PIL import Image

import medkd.transforms
from medkd.datasets.polyp_phantoms import polyp_phantom

ROUNDS = 15


def main() -> None:
    torch.set_num_threads(1)
    print("| frame | target | decoded | reduced | MONAI's filter | ours |\n|---|---|---|---|---|---|")
    for width in (384, 622, 1024, 1920):
        frame, _ = polyp_phantom(np.random.default_rng(0), size=width)
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=90)
        for side in (192, 352):
            times = [ms(lambda f=file, t=target: decode(f, t)) for target in (width, side)]
            item = {"image": decode(file, width)}
            for transforms in (monai.transforms, medkd.transforms):
                resize = transforms.Resized("image", (side, side), mode="bilinear", anti_aliasing=True)
                times.append(ms(lambda r=resize, i=item: r(i)))
            print(f"| {width} × {frame.shape[0]} | {side}² | " + " | ".join(f"{one:.1f}" for one in times) + " |")


def decode(file: io.BytesIO, target: int) -> torch.Tensor:
    file.seek(0)
    image = Image.open(file)
    image.draft("RGB", (target, target))
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float()


def ms(function: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        function()
        times.append(time.perf_counter() - begun)
    return 1000 * statistics.median(times)


if __name__ == "__main__":
    main()
