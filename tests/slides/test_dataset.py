"""Tiles as items: the right pixels, in batches that a restart does not change, also from worker processes."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from medkd.slides import SlideTiles, make_slide, open_maps, open_slide, plan_slides


@pytest.fixture
def maps(made, tmp_path):
    make_slide(tmp_path / "slides" / "a.tif", (600, 700))
    (tmp_path / "slides" / "b.tif").write_bytes(made[0].read_bytes())
    (tmp_path / "model.pt").touch()
    plans = plan_slides(tmp_path / "slides", downsample=2, tile_size=96, halo=8)
    return open_maps(plans, tmp_path / "out", tmp_path / "model.pt")


def test_items_are_tiles_with_their_halo(maps):
    dataset = SlideTiles(maps)
    assert len(dataset) == sum(len(made.plan.tiles) for made in maps)
    item = dataset[len(dataset) - 1]
    plan = maps[item["slide"]].plan
    assert item["slide"] == 1
    assert item["tile"] == plan.tiles[-1]
    assert item["image"].shape == (3, 96, 96)
    assert item["image"].dtype == torch.uint8
    assert item["image"].meta["filename_or_obj"].endswith("b.tif")
    top, left = (round(place / 2) for place in plan.grid.location(item["tile"]))
    assert np.array_equal(
        item["image"].numpy(), open_slide(plan.path).read_level(1, top, left, 96, 96).transpose(2, 0, 1)
    )


def test_batches_hold_every_tile_once_and_one_slide_each(maps):
    dataset = SlideTiles(maps)
    batches = dataset.batches(4)
    assert sorted(index for batch in batches for index in batch) == list(range(len(dataset)))
    assert all(len({dataset[index]["slide"] for index in batch}) == 1 for batch in batches)
    with pytest.raises(ValueError, match="expected a batch size of at least 1, got 0"):
        dataset.batches(0)


def test_batches_after_a_restart_are_those_that_were_missing(maps):
    dataset = SlideTiles(maps)

    def tiles_of(data):
        return [[(data[i]["slide"], data[i]["tile"]) for i in batch] for batch in data.batches(4)]

    before = tiles_of(dataset)
    done = before[2]
    maps[done[0][0]].write([tile for _, tile in done], np.zeros((len(done), 20, 20), np.uint8))
    assert tiles_of(SlideTiles(maps)) == before[:2] + before[3:]


def test_workers_read_what_the_main_process_reads(maps):
    dataset = SlideTiles(maps, lambda item: {**item, "image": item["image"].as_tensor()})
    loaders = [DataLoader(dataset, batch_sampler=dataset.batches(4), num_workers=n) for n in (0, 2)]
    for one, two in zip(*loaders, strict=True):
        assert torch.equal(one["image"], two["image"])
        assert torch.equal(one["tile"], two["tile"])


def test_nothing_left_is_an_empty_dataset(maps):
    for made in maps:
        made.write(made.plan.tiles.tolist(), np.zeros((len(made.plan.tiles), 20, 20), np.uint8))
    assert len(SlideTiles(maps)) == 0
    assert SlideTiles(maps).batches(4) == []
