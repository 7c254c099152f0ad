"""A slide's map, made tile by tile, against the map of the whole region at once, by the bundle's own configurations.

    python benchmarks/slide_seams.py SLIDE [--location 0 0] [--size 3000] [--halo 32] [--align_corners]

The region is cut out of the slide's level 0 as a picture. The network has random weights, its heads scaled so that the
logits of every level have a standard deviation of 2: maps as steep as those of a trained student. What is printed are the
absolute differences of the probabilities, in the interior: farther from the region's border than the halo.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from monai.bundle import ConfigParser
from PIL import Image

from medkd.networks import SideOutputVGG
from medkd.slides import read_tile

CONFIGS = Path(__file__).resolve().parents[1] / "bundles" / "ikdmil_histology_segmentation" / "configs"


def steep(network: SideOutputVGG, image: torch.Tensor) -> SideOutputVGG:
    """Heads whose logits have the mean 0 and the standard deviation 2 on an image ``[1, 3, H, W]``."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    with torch.no_grad():
        for head, level in zip(network.heads, network.eval().backbone(image), strict=True):
            logits = head(level)
            head.weight *= 2 / logits.std()
            head.bias.copy_(-head(level).mean() + head.bias)
    return network


def configured(name: str, **settings: Any) -> ConfigParser:
    """A configuration of the bundle."""
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / name))
    parser.update({**settings, "initialize": [], "amp": False})
    return parser


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide")
    parser.add_argument("--location", type=int, nargs=2, default=[0, 0], help="row and column")
    parser.add_argument("--size", type=int, default=3000)
    parser.add_argument("--halo", type=int, default=32)
    parser.add_argument("--align_corners", action="store_true", help="as the authors' code upsamples")
    options = parser.parse_args()
    network: Any = {"_target_": "medkd.networks.SideOutputVGG", "align_corners": options.align_corners}
    with tempfile.TemporaryDirectory() as folder:
        region, weights = Path(folder) / "region.png", Path(folder) / "model.pt"
        pixels = read_tile(options.slide, options.location, (options.size, options.size))
        Image.fromarray(pixels).save(region)
        middle = configured("inference.yaml", dataset_dir=str(region), image_size=[options.size, options.size])
        image = middle.get_parsed_content("preprocessing")({"image": str(region)})["image"].as_tensor()[None]
        half = options.size // 2
        part = image[..., half - 256 : half + 256, half - 256 : half + 256]
        student = steep(SideOutputVGG(align_corners=options.align_corners), part)
        torch.save({"model": student.state_dict()}, weights)
        with torch.inference_mode():
            whole = student.eval()(image)[0]
        del image
        whole = middle.get_parsed_content("postprocessing").transforms[0]({"pred": whole})["pred"][0].numpy()
        tiles = configured(
            "slides.yaml", dataset_dir=str(region), output_dir=folder, model_path=str(weights), network_def=network,
            downsample=1, tissue=False, map_downsample=1, num_workers=0, progress=False, halo=options.halo, batch_size=2,
        )  # fmt: skip
        evaluator, started = tiles.get_parsed_content("evaluator"), time.perf_counter()
        evaluator.run()
        seconds = time.perf_counter() - started
        found = tifffile.imread(Path(folder) / "region_probability.ome.tif", level=0).astype(float) / 255
    inner = slice(options.halo, -options.halo)
    difference = np.abs(found - whole)[inner, inner]
    print(
        f"{options.size}², halo {options.halo}, align_corners {options.align_corners}: largest difference "
        f"{difference.max():.4f}, 99.9 % below {np.quantile(difference, 0.999):.4f}, mean {difference.mean():.5f}; "
        f"{seconds:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
