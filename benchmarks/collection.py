"""A collection of slides with one worker and with two, in one run, and what that makes of Camelyon16's 400 slides.

Synthetic slides with the same tissue go through ``medkd.collection`` in turns: one worker, two, two, one. Each worker has one
thread, and has imported and run everything once before the clock starts. Then one slide is taken apart: finding its tissue,
reading its tiles, the network on them, and the rest (smoothing, the map, its pyramid, contours and picture).

    python benchmarks/collection.py [--slides 8] [--size 10000] [--tissue 4000] [--channels 8]

The extrapolation is arithmetic from what was measured: tiles per second of a worker, seconds of a slide beside its tiles, and the
ratio of two workers to one. What it takes from elsewhere are arguments: how many slides there are, how large, how much of
them is tissue, and the gigabytes of their files.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # of each worker, and of this process

import psutil
import torch
from monai.bundle import ConfigParser

from medkd.bundle import copy_bundle
from medkd.collection import open_cluster, run_collection
from medkd.collection.slides import configured_slides, make_maps
from medkd.slides import make_slide


def settings(options: argparse.Namespace) -> dict[str, Any]:
    given: dict[str, Any] = {"downsample": options.downsample, "batch_size": options.batch_size}
    given |= {"tile_size": options.tile_size}
    if options.channels:  # a smaller network than the bundle's
        first = f"torch.nn.Conv2d(3, {options.channels}, 3, padding=1), torch.nn.ReLU()"
        last = f"torch.nn.Conv2d({options.channels}, 1, 1), torch.nn.Sigmoid()"
        given["network_def"] = f"$torch.nn.Sequential({first}, {last})"
    return given


def prepare(options: argparse.Namespace, folder: Path) -> tuple[Path, list[str]]:
    """A bundle with random weights, and the slides; the first one is for warming up."""
    bundle = copy_bundle("ikdmil", folder / "bundle")
    network = configured_slides(str(bundle), settings(options), {}).get_parsed_content("network")
    (bundle / "models").mkdir()
    torch.save({"model": network.state_dict()}, bundle / "models" / "model.pt")
    slides = [folder / f"{number}.tif" for number in range(options.slides + 2)]
    for number, slide in enumerate(slides):
        size = options.size if number > 1 else 4 * options.tile_size
        make_slide(slide, (size, size), tissue_diameter=options.tissue if number > 1 else None)
    return bundle, [str(slide) for slide in slides]


def peak() -> float:
    """Largest resident memory of this process, MiB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def collection(options: argparse.Namespace, bundle: Path, slides: list[str], workers: int, output: Path) -> float:
    """Seconds of all slides."""
    with open_cluster(workers=workers) as client:
        function = partial(make_maps, bundle=str(bundle), settings=settings(options))
        for number, address in enumerate(client.scheduler_info()["workers"]):
            warm = client.submit(function, slides[number], output=f"{output}-warm", workers=[address], pure=False)
            warm.result()
        started = time.perf_counter()
        items = [(slide, slide) for slide in slides[2:]]
        made = [
            new for _, new in run_collection(partial(function, output=str(output)), items, client=client, source="")
        ]
        seconds = time.perf_counter() - started
        memory = max(client.run(peak).values())
    assert made == [True] * options.slides
    print(f"{workers} worker(s): {seconds:.1f} s, at most {memory:.0f} MiB each", flush=True)
    return seconds


def parts(options: argparse.Namespace, bundle: Path, slide: str, output: Path) -> tuple[int, dict[str, float]]:
    """Tiles of a slide, and where its seconds go."""
    places = {"dataset_dir": slide, "output_dir": str(output)}
    chosen = {**settings(options), "num_workers": 0, "progress": False}

    def clock(step: Any) -> float:
        started = time.perf_counter()
        step()
        return time.perf_counter() - started

    parser: ConfigParser = configured_slides(str(bundle), chosen, places)
    found = {"finding the tissue": clock(lambda: parser.get_parsed_content("maps"))}
    loader = parser.get_parsed_content("dataloader")
    tiles = len(parser.get_parsed_content("dataset"))
    found["reading"] = clock(lambda: [None for _ in loader])
    network, batch = parser.get_parsed_content("network").eval(), next(iter(loader))["image"]
    inferer = parser.get_parsed_content("inferer")  # in the precision that the bundle computes in
    with torch.no_grad():
        inferer(batch, network)
        times = [clock(lambda: inferer(batch, network)) for _ in range(5)]
        found["the network"] = statistics.median(times) * tiles / len(batch)
    whole = clock(lambda: make_maps(slide, bundle=str(bundle), output=str(output), settings=settings(options)))
    return tiles, {**found, "the rest": whole - sum(found.values())}


def extrapolate(options: argparse.Namespace, tiles: int, seconds: dict[str, float], ratio: float) -> None:
    fixed = seconds["finding the tissue"]
    per_tile = (sum(seconds.values()) - fixed) / tiles
    core = (options.tile_size - 2 * 32) * options.downsample
    expected = options.camelyon_size[0] * options.camelyon_size[1] * options.camelyon_tissue / core**2
    one = options.camelyon_slides * (fixed + expected * per_tile) / 3600
    rate = 1e3 * options.camelyon_gigabytes / (one * 3600)
    print(f"Camelyon16: {options.camelyon_slides} slides of {expected:.0f} tiles, {1 / per_tile:.2f} tiles/s")
    print(f"  one worker {one:.1f} h, two {one / ratio:.1f} h; a worker reads {rate:.2f} MB/s of the files")
    print(f"  bottleneck: {max(seconds, key=lambda part: seconds[part])}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=8)
    parser.add_argument("--size", type=int, default=10_000, help="rows and columns at level 0")
    parser.add_argument("--tissue", type=int, default=4000, help="diameter of the tissue in level-0 pixels")
    parser.add_argument("--channels", type=int, default=0, help="of two convolutions instead of the bundle's network")
    parser.add_argument("--downsample", type=float, default=1)
    parser.add_argument("--tile_size", type=int, default=512)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--camelyon_slides", type=int, default=400)
    parser.add_argument("--camelyon_size", type=int, nargs=2, default=[200_000, 90_000], help="level-0 pixels")
    parser.add_argument("--camelyon_tissue", type=float, default=0.1, help="part of a slide")
    parser.add_argument("--camelyon_gigabytes", type=float, default=700)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{psutil.cpu_count()} CPUs, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle, slides = prepare(options, folder)
        times: dict[int, list[float]] = {1: [], 2: []}
        for number, workers in enumerate((1, 2, 2, 1)):
            times[workers].append(collection(options, bundle, slides, workers, folder / f"out{number}"))
        ratio = sum(times[1]) / sum(times[2])
        print(f"two workers are {ratio:.2f} times as fast as one")
        tiles, seconds = parts(options, bundle, slides[2], folder / "apart")
        print(f"a slide, {tiles} tiles: " + ", ".join(f"{part} {spent:.2f} s" for part, spent in seconds.items()))
        extrapolate(options, tiles, seconds, ratio)
    return 0


if __name__ == "__main__":
    sys.exit(main())
