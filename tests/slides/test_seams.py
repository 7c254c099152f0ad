"""A slide's map, tile by tile, is the map of the whole slide; and the map that is deployed on slides is the one scored on tiles."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from monai.bundle import ConfigParser
from monai.transforms import AsDiscreted
from PIL import Image

from medkd.networks import SideOutputVGG, load_model

from ..helpers import run_bundle
from ..networks.conftest import official

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "ikdmil_histology_segmentation" / "configs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A picture with structures of many sizes, and weights of the bundle's network whose maps are steep."""
    folder = tmp_path_factory.mktemp("seams")
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (rows, columns, 3), np.uint8) for rows, columns in ((7, 8), (28, 32), (112, 128))]
    coarse = [np.asarray(Image.fromarray(n).resize((384, 336), Image.Resampling.BICUBIC), float) for n in noise]
    Image.fromarray(np.mean(coarse, 0).astype(np.uint8)).save(folder / "picture.png")
    torch.save(official("vgg_mil"), folder / "official.pth")
    network = SideOutputVGG.from_official(folder / "official.pth").eval()
    pixels = torch.tensor(np.asarray(Image.open(folder / "picture.png"))).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        for head, level in zip(network.heads, network.backbone((pixels - 0.45) / 0.225), strict=True):
            head.weight *= 2 / head(level).std()
            head.bias += -head(level).mean()
    torch.save({"model": network.state_dict()}, folder / "model.pt")
    return folder


def slide_map(picture, weights, output, **settings):
    """The probability by slides.yaml, a pixel per pixel of the network's input."""
    options = {
        "downsample": 1,
        "tile_size": 208,
        "map_downsample": 1,
        "batch_size": 2,
        "num_workers": 0,
        "tissue": "false",
        "amp": "false",  # the other map is the network's, called by hand: bfloat16 is .01 to .02 from it
    } | settings
    paths = {"dataset_dir": picture, "output_dir": output, "model_path": weights}
    run_bundle([CONFIGS / "slides.yaml"], **paths, **options)
    return tifffile.imread(output / f"{picture.stem}_probability.ome.tif", level=0) / 255


def tile_map(picture, weights, size, **settings):
    """The probability by inference.yaml, in the picture's own size: what is thresholded."""
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "inference.yaml"))
    parser.update({"image_size": size, "dataset_dir": str(picture), **settings})
    network = load_model(weights, parser.get_parsed_content("network_def")).eval()
    item = parser.get_parsed_content("preprocessing")({"image": str(picture)})
    with torch.no_grad():
        item["pred"] = network(item["image"][None])[0]
    after = parser.get_parsed_content("postprocessing")
    end = next(i for i, transform in enumerate(after.transforms) if isinstance(transform, AsDiscreted))
    return np.asarray(after(item, end=end)["pred"])[0].T


def test_a_slide_s_map_is_the_map_of_the_whole(folder, tmp_path):
    picture, weights = folder / "picture.png", folder / "model.pt"
    whole = tile_map(picture, weights, [336, 384])
    assert whole.std() > 0.15  # steep enough for a seam to show
    tiled = slide_map(picture, weights, tmp_path)
    assert np.abs(tiled - whole)[40:-40, 40:-40].max() < 0.01  # 1/510 of it are the map's bytes


def test_what_is_deployed_on_slides_is_what_was_scored_on_tiles(folder, tmp_path):
    """The student sees two pixels as one: on slides by downsample, on tiles by their size. Glass goes on beyond both."""
    picture, weights = tmp_path / "square.png", tmp_path / "linear.pt"
    pixels = np.full((480, 576, 3), 255, np.uint8)
    pixels[160:320, 200:400] = 40
    Image.fromarray(pixels).save(picture)
    network = torch.nn.Conv2d(3, 1, 1)
    with torch.no_grad():
        network.weight.fill_(0.05)
        network.bias.fill_(0.3)
    torch.save({"model": network.state_dict()}, weights)
    options = {"_target_": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 1, "kernel_size": 1}
    tile = tile_map(picture, weights, [240, 288], network_def=options)
    overrides = {f"network_def#{key}": value for key, value in options.items()}
    slide = slide_map(picture, weights, tmp_path / "out", downsample=2, **overrides)
    assert np.ptp(slide) > 0.4
    assert np.abs(slide - tile.reshape(240, 2, 288, 2).mean((1, 3))).max() < 0.01  # to the corners
