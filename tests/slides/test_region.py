"""A region's map is cut out of its slide's, wherever the region lies."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from medkd.networks import SideOutputVGG
from medkd.slides import Grid, map_region, open_slide


class Student(torch.nn.Module):
    """VGG's side outputs on RGB of 0 to 255: it looks 30 pixels far, and its cells are 8 pixels wide."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = SideOutputVGG().eval()
        for module in self.network.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
        for head in self.network.heads:
            head.weight.data *= 2

    def forward(self, x):
        return self.network((x - 200) / 50)


@pytest.fixture(scope="module")
def student():
    return Student().eval()


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """Something everywhere, at the borders too."""
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    spots = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)
    Image.fromarray(spots).resize((640, 500), Image.Resampling.BICUBIC).save(path)
    return path


def region(slide, network, location, size, tiles=None, **layout):
    grid = Grid(slide.size, **{"tile_size": 128, "halo": 32, "map_downsample": 4, **layout})

    @torch.no_grad()
    def predict(pixels):
        return network(torch.tensor(np.moveaxis(pixels, -1, 0))[None].float())[0]

    return map_region(slide, grid, location, size, predict, tiles=tiles), grid


@pytest.mark.parametrize(("downsample", "location"), [(2.5, (111, 233)), (2, (300, 490))], ids=["inside", "border"])
def test_a_region_is_a_part_of_its_slide(new_run, picture, student, downsample, location):
    run = new_run(picture, network=student)(downsample=downsample, tile_size=128, halo=32, tissue=False)
    whole = tifffile.imread(run.result(), level=0) / 255
    found, grid = region(open_slide(picture), student, location, (200, 150), downsample=downsample)
    assert found.shape == (200, 150)
    rows, columns = ((np.arange(n) + 0.5 + s) / grid.scale - 0.5 for n, s in zip((200, 150), location, strict=True))
    between = np.stack([np.interp(columns, np.arange(whole.shape[1]), line) for line in whole])
    expected = np.stack([np.interp(rows, np.arange(whole.shape[0]), line) for line in between.T], 1)
    assert np.ptp(found) > 0.1
    assert np.abs(found - expected).max() < 0.01  # 1/255 each way is the map's rounding


def test_what_the_slide_s_map_leaves_out_is_left_out_of_a_region(picture, student):
    """Tiles without tissue are 0 in the map."""
    slide = open_slide(picture)
    grid = Grid(slide.size, 1, tile_size=128, halo=32, map_downsample=4)
    whole, _ = region(slide, student, (0, 0), (256, 256), downsample=1)
    found, _ = region(slide, student, (0, 0), (256, 256), downsample=1, tiles=np.array([1, grid.shape[1]]))
    corner = (slice(4, 60), slice(4, 60))  # inside the first core, which is left out
    assert found[corner].max() == 0 < whole[corner].max()
    kept = (slice(4, 60), slice(68, 124))
    assert np.array_equal(found[kept], whole[kept])
    below = (slice(68, 124), slice(4, 60))
    assert np.array_equal(found[below], whole[below])
    assert found[68:124, 68:124].max() == 0


def test_what_is_no_probability_is_refused(made):
    with pytest.raises(ValueError, match="expected probabilities from 0 to 1, got 5 to 5"):
        region(open_slide(made[0]), lambda x: torch.full_like(x[:, :1], 5.0), (0, 0), (64, 64), downsample=1)
