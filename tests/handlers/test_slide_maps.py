"""The handler: cores into the maps of their slides, finished as soon as they are complete; wrong output refused."""

import logging

import numpy as np
import pytest
import torch
from ignite.engine import Engine

from medkd.handlers.slide_maps import SlideMaps
from medkd.slides import make_slide, open_maps, plan_slides


@pytest.fixture
def maps(tmp_path):
    for name in ("a", "b"):
        make_slide(tmp_path / "slides" / f"{name}.tif", (300, 400))
    (tmp_path / "model.pt").touch()
    plans = plan_slides(tmp_path / "slides", downsample=1, tile_size=80, halo=8, map_downsample=2)
    return open_maps(plans, tmp_path / "out", tmp_path / "model.pt")


def run(maps, tiles, prediction, handler=None):
    """An evaluator's decollated output and batch, one iteration per entry of ``tiles``."""
    engine = Engine(lambda engine, batch: [{"pred": prediction(source)} for source in batch])
    (handler or SlideMaps(maps)).attach(engine)
    engine.run([[{"slide": torch.tensor(s), "tile": torch.tensor(t)} for s, t in batch] for batch in tiles])


def ramp(source):
    """1 in the left half of the core, 0 in the right, and nonsense in the halo."""
    values = torch.full((1, 80, 80), 0.5)
    values[:, 8:72, 8:72] = 0
    values[:, 8:72, 8:40] = 1
    return values


def test_the_halo_is_cut_and_pixels_are_averaged(maps):
    tile = int(maps[0].plan.tiles[0])
    run(maps, [[(0, tile)]], ramp)
    top, left, rows, columns = maps[0].plan.grid.core_box(tile)
    raw = np.fromfile(maps[0].raw, np.uint8).reshape(maps[0].plan.grid.map_shape)
    assert (raw[top : top + rows, left : left + 16] == 255).all()
    assert (raw[top : top + rows, left + 16 : left + columns] == 0).all()
    assert raw.sum() == 255 * rows * 16


def test_probabilities_are_rounded_to_bytes(maps):
    tile = int(maps[0].plan.tiles[0])
    run(maps, [[(0, tile)]], lambda _: torch.full((1, 80, 80), 0.3, dtype=torch.float16))
    top, left, *_ = maps[0].plan.grid.core_box(tile)
    assert np.fromfile(maps[0].raw, np.uint8).reshape(maps[0].plan.grid.map_shape)[top, left] == 77  # 0.30005 · 255


def test_a_slide_is_finished_when_its_last_tile_is_done(maps, caplog):
    first, second = ([(n, int(t)) for t in made.plan.tiles] for n, made in enumerate(maps))
    with caplog.at_level(logging.INFO):
        run(maps, [first + second[:1]], ramp)  # a batch may hold tiles of two slides
    assert maps[0].whole
    assert not maps[1].whole
    assert f"a_probability.ome.tif: finished, {len(first)} tiles" in caplog.text
    run(maps, [second[1:]], ramp)
    assert maps[1].whole
    assert not list(maps[0].path.parent.glob(".*"))


def test_what_an_earlier_run_had_all_tiles_of_is_finished(maps):
    for made in maps[:1]:
        made.write(made.plan.tiles.tolist(), np.zeros((len(made.plan.tiles), 32, 32), np.uint8))
    SlideMaps(maps).finish()
    assert [made.whole for made in maps] == [True, False]


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (torch.full((1, 80, 80), 3.0), "expected probabilities from 0 to 1, got 3 to 3"),
        (torch.full((1, 80, 80), torch.nan), "expected probabilities from 0 to 1, got nan to nan"),
        (torch.zeros(2, 80, 80), r"expected predictions \(1, 80, 80\), got \(2, 80, 80\)"),
        (torch.zeros(1, 40, 40), r"expected predictions \(1, 80, 80\), got \(1, 40, 40\)"),
    ],
    ids=["logits", "NaN", "classes", "size"],
)
def test_what_is_no_probability_is_refused(maps, prediction, message):
    with pytest.raises(ValueError, match=rf"a\.tif: {message}"):
        run(maps, [[(0, int(maps[0].plan.tiles[0]))]], lambda _: prediction)
    assert len(maps[0].remaining) == len(maps[0].plan.tiles)


@pytest.mark.parametrize("threshold", [0, 1, -2.0])
def test_an_impossible_threshold_is_refused(maps, threshold):
    with pytest.raises(ValueError, match="expected a threshold between 0 and 1, got"):
        SlideMaps(maps, threshold=threshold)
