"""Inference on whole slides: peak memory by the size of the slide, and tiles per second against the network alone.

For every size a synthetic slide is made and the bundle's configuration is run on it in a process of its own. The
network alone runs in that same process, before and after, on as many tiles as a batch holds, in memory: the ratio is
the whole pipeline's tiles per second (reading, transforms, network, smoothing, the map, its pyramid, picture and
contours) to the network's own.

    python benchmarks/slides.py [--sizes 10000 20000 40000] [--tissue 4000] [--channels 8]
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from measure import peak_memory
from monai.bundle import ConfigParser

from medkd.slides import make_slide

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "ikdmil_histology_segmentation"
ALONE = 6  # batches of the network alone, before and after


def configuration(options: argparse.Namespace, slide: Path, folder: Path) -> ConfigParser:
    """The bundle's own, with a network that may be smaller."""
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "slides.yaml"))
    network: Any = {"_target_": "medkd.networks.SideOutputVGG"}
    if options.channels:
        first = f"torch.nn.Conv2d(3, {options.channels}, 3, padding=1), torch.nn.ReLU()"
        network = f"$torch.nn.Sequential({first}, torch.nn.Conv2d({options.channels}, 1, 1), torch.nn.Sigmoid())"
    settings = {
        "dataset_dir": str(slide), "output_dir": str(folder / slide.stem), "model_path": str(folder / "model.pt"),
        "network_def": network, "downsample": options.downsample, "tile_size": options.tile_size,
        "batch_size": options.batch_size, "num_workers": options.num_workers, "progress": False,
    }  # fmt: skip
    parser.update({**settings, "initialize": []})
    return parser


def alone(network: torch.nn.Module, options: argparse.Namespace) -> list[float]:
    """Seconds per tile of the network on tiles in memory."""
    device = next(network.parameters()).device
    batch = torch.rand(options.batch_size, 3, options.tile_size, options.tile_size, device=device)
    times = []
    with torch.no_grad():
        for _ in range(ALONE + 1):
            started = time.perf_counter()
            network.eval()(batch)
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append((time.perf_counter() - started) / options.batch_size)
    return times[1:]


def infer(options: argparse.Namespace, slide: Path, folder: Path) -> None:
    """What ``monai.bundle run`` does, and the network alone before and after; prints the speeds."""
    parser = configuration(options, slide, folder)
    network = parser.get_parsed_content("network")
    if not (folder / "model.pt").is_file():
        torch.save({"model": network.state_dict()}, folder / "model.pt")
    before = alone(network, options)
    started = time.perf_counter()
    dataset = parser.get_parsed_content("dataset")
    planned = time.perf_counter() - started
    tiles = len(dataset)
    evaluator = parser.get_parsed_content("evaluator")
    started = time.perf_counter()
    evaluator.run()
    seconds = (time.perf_counter() - started) / tiles
    own = statistics.median(before + alone(network, options))
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"  {tiles} tiles, planned in {planned:.1f} s; {1 / seconds:.2f} tiles/s, the network alone {1 / own:.2f}: "
        f"ratio {own / seconds:.2f}; largest worker {workers:.0f} MiB",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 20_000, 40_000])
    parser.add_argument(
        "--tissue", type=int, default=4000, help="diameter of the tissue in level-0 pixels; 0: grows too"
    )
    parser.add_argument("--channels", type=int, default=0, help="of two convolutions instead of the bundle's network")
    parser.add_argument("--downsample", type=float, default=1)
    parser.add_argument("--tile_size", type=int, default=512)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--num_workers", type=int, default=2)
    options = parser.parse_args()
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            slide = Path(folder) / f"{size}.tif"
            make_slide(slide, (size, size), tissue_diameter=options.tissue or None)
            print(f"{size} × {size}, file of {slide.stat().st_size / 2**20:.0f} MiB", flush=True)
            memory = peak_memory(infer, options, slide, Path(folder))
            print(f"  peak resident memory of the inference process {memory / 1024:.0f} MiB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
