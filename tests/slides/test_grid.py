"""Cores cover the map without overlap; tiles are those whose cores meet tissue."""

import numpy as np
import pytest

from medkd.slides import Grid

GRIDS = [
    Grid((900, 1300), 1.0, 128, 16, 4),
    Grid((901, 1301), 1.5, 64, 0, 1),
    Grid((50, 70), 2.0, 128, 16, 4),
    Grid((1000, 999), 1.002, 96, 8, 2),
]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_every_pixel_of_the_map_is_written_once(grid):
    written = np.zeros(grid.map_shape, int)
    for number in range(int(np.prod(grid.shape))):
        top, left, rows, columns = grid.core_box(number)
        assert rows > 0
        assert columns > 0
        written[top : top + rows, left : left + columns] += 1
    assert (written == 1).all()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_a_core_lies_where_its_tile_was_read(grid):
    for number in range(int(np.prod(grid.shape))):
        top, left, *_ = grid.core_box(number)
        assert np.allclose(
            np.array([top, left]) * grid.scale, np.array(grid.location(number)) + grid.halo * grid.downsample
        )


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_map_covers_the_slide(grid):
    for side, length in zip(grid.size, grid.map_shape, strict=True):
        assert 0 <= length * grid.scale - side + 1e-6 < grid.scale + 1e-6


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_tiles_are_those_whose_cores_meet_the_mask(grid):
    mask = np.random.default_rng(0).random((45, 65)) > 0.97
    scale = max(grid.size[0] / 45, grid.size[1] / 65)
    # Brute force: the mask at every map pixel's corners and centre.
    found = set(grid.tiles_on(mask, scale).tolist())
    for number in range(int(np.prod(grid.shape))):
        top, left = np.array(grid.core_box(number)[:2]) * grid.scale / scale
        side = grid.core * grid.downsample / scale
        part = mask[
            int(top + 1e-6) : int(np.ceil(top + side - 1e-6)), int(left + 1e-6) : int(np.ceil(left + side - 1e-6))
        ]
        assert (number in found) == bool(part.any())


def test_no_mask_no_tiles_and_a_full_one_all():
    grid = GRIDS[0]
    assert len(grid.tiles_on(np.zeros((9, 13), bool), 100)) == 0
    assert np.array_equal(grid.tiles_on(np.ones((9, 13), bool), 100), np.arange(10 * 14))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"halo": -1}, "expected halo >= 0 and map_downsample >= 1, got -1 and 4"),
        ({"map_downsample": 0}, "got 32 and 0"),
        (
            {"tile_size": 64},
            "expected tile_size - 2 halo to be a positive multiple of map_downsample 4, got 64 - 2 × 32 = 0",
        ),
        ({"map_downsample": 5}, "multiple of map_downsample 5, got 512 - 2 × 32 = 448"),
    ],
)
def test_impossible_grids_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Grid((100, 100), 1.0, **options)
