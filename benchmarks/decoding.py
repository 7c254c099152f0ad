"""What decoding a JPEG at a reduced size would save of the time until a frame has the network's size.

    python benchmarks/decoding.py

JPEG's own scaling (Pillow's ``draft``) gives a half, a quarter or an eighth, where that is still as large as the target.
"""

import io
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from monai.transforms import Resize
from PIL import Image

from medkd.datasets.polyp_phantoms import polyp_phantom

ROUNDS = 15


def main() -> None:
    torch.set_num_threads(1)
    for side, target in ((384, 192), (384, 352), (1024, 192), (1024, 352)):
        frame, _ = polyp_phantom(np.random.default_rng(0), size=side)
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=90)
        resize = Resize((target, target), mode="bilinear", anti_aliasing=True)
        whole, reduced = ms(lambda f=file, s=side: decode(f, s)), ms(lambda f=file, t=target: decode(f, t))
        both = [ms(lambda f=file, s=size, r=resize: r(decode(f, s))) for size in (side, target)]
        print(
            f"{side}² to {target}²: decoded {whole:.1f} ms, reduced {reduced:.1f} ms; with the change of size {both[0]:.1f} and {both[1]:.1f} ms"
        )


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
