"""The scale of a network's input, of tiles in files and in slides."""

import numpy as np
import pytest
from PIL import Image

from medkd.datasets import tile_scale


@pytest.fixture
def tile(tmp_path):
    def write(name, rows, columns):
        Image.fromarray(np.zeros((rows, columns, 3), np.uint8)).save(tmp_path / name)
        return {"image": str(tmp_path / name)}

    return write


def test_tiles_in_files_have_the_ratio_of_the_sizes(tile):
    items = [tile(f"{n}.png", 512, 256) for n in range(3)]
    assert tile_scale(items, (256, 128)) == {"downsample": 2.0, "mpp": None}
    assert tile_scale(items, (1024, 512)) == {"downsample": 0.5, "mpp": None}


def test_tiles_of_several_scales_have_none(tile, caplog):
    assert tile_scale([tile("a.png", 512, 512), tile("b.png", 300, 300)], (256, 256)) == {}
    assert "slides will need --downsample or --mpp" in caplog.text
    assert tile_scale([tile("c.png", 512, 512)], (256, 128)) == {}  # they are squeezed
    assert tile_scale([], (256, 256)) == {}


def test_tiles_in_an_image_have_their_own_size(tile):
    item = {**tile("large.png", 700, 900), "location": [0, 0], "size": [128, 128]}
    assert tile_scale([item], (64, 64)) == {"downsample": 2.0, "mpp": None}


def test_tiles_of_slides_have_microns_where_the_slides_say_them(made):
    place = {"location": [0, 0], "size": [256, 256]}
    assert tile_scale([{"image": str(made[0]), **place, "level": 1}], (128, 128)) == {"downsample": None, "mpp": 2.0}
