"""The store of a map: right bytes, a journal that survives what it is for, and settings that must agree."""

import errno
import json

import numpy as np
import pytest

from medkd.slides import ProbabilityMap, plan_slides
from medkd.slides.probability_map import naming


@pytest.fixture
def plan(made):
    (found,) = plan_slides(made[0], downsample=1, tile_size=128, halo=16, map_downsample=4)
    return found


def cores(tiles):
    return np.stack([np.full((24, 24), 1 + number % 250, np.uint8) for number in tiles])


def test_cores_are_written_in_their_places(plan, tmp_path):
    made = ProbabilityMap(plan, tmp_path, {})
    tiles = made.remaining.tolist()
    made.write(tiles, cores(tiles))
    raw = np.fromfile(made.raw, np.uint8).reshape(plan.grid.map_shape)
    expected = np.zeros_like(raw)
    for number in tiles:
        top, left, rows, columns = plan.grid.core_box(number)
        expected[top : top + rows, left : left + columns] = 1 + number % 250
    assert np.array_equal(raw, expected)
    assert len(made.remaining) == 0
    assert not made.whole


def test_nothing_is_made_before_the_first_tile(plan, tmp_path):
    made = ProbabilityMap(plan, tmp_path / "out", {})
    assert len(made.remaining) == len(plan.tiles)
    assert not (tmp_path / "out").exists()


def test_a_second_run_has_the_tiles_that_are_missing(plan, tmp_path):
    first = ProbabilityMap(plan, tmp_path, {"a": 1})
    tiles = first.remaining.tolist()
    first.write(tiles[:5], cores(tiles[:5]))
    again = ProbabilityMap(plan, tmp_path, {"a": 1})
    assert again.remaining.tolist() == tiles[5:]
    assert again.raw.read_bytes() == first.raw.read_bytes()


def test_a_journal_s_torn_entry_is_not_kept(plan, tmp_path):
    first = ProbabilityMap(plan, tmp_path, {})
    tiles = first.remaining.tolist()
    first.write(tiles[:3], cores(tiles[:3]))
    with (first.folder / "journal").open("ab") as journal:
        journal.write(b"\x07\x00\x00")
    again = ProbabilityMap(plan, tmp_path, {})
    again.write(tiles[3:4], cores(tiles[3:4]))
    assert ProbabilityMap(plan, tmp_path, {}).remaining.tolist() == tiles[4:]


def test_a_folder_without_settings_counts_for_nothing(plan, tmp_path):
    first = ProbabilityMap(plan, tmp_path, {})
    tiles = first.remaining.tolist()
    first.write(tiles[:3], cores(tiles[:3]))
    (first.folder / "settings.json").unlink()
    again = ProbabilityMap(plan, tmp_path, {})
    assert again.remaining.tolist() == tiles
    again.write(tiles[:1], cores(tiles[:1]))
    assert ProbabilityMap(plan, tmp_path, {}).remaining.tolist() == tiles[1:]


def test_other_settings_are_refused_with_what_differs(plan, made, tmp_path):
    first = ProbabilityMap(plan, tmp_path, {"weights": "abc"})
    tiles = first.remaining.tolist()
    first.write(tiles[:1], cores(tiles[:1]))
    with pytest.raises(
        ValueError, match=r"\.ring\.partial: made with other settings; .* Expected weights xyz, found abc$"
    ):
        ProbabilityMap(plan, tmp_path, {"weights": "xyz"})
    (other,) = plan_slides(made[0], downsample=1, tile_size=128, halo=32, map_downsample=4)
    with pytest.raises(ValueError, match=r"Expected halo 32, found 16; tiles \d+, found \d+$"):
        ProbabilityMap(other, tmp_path, {"weights": "abc"})
    assert ProbabilityMap(plan, tmp_path, {"weights": "abc"}).remaining.tolist() == tiles[1:]


def test_settings_are_plain_json(plan, tmp_path):
    made = ProbabilityMap(plan, tmp_path, {"weights": "abc"})
    made.write([int(plan.tiles[0])], cores([0]))
    settings = json.loads((made.folder / "settings.json").read_text())
    assert settings == made.settings
    assert settings["slide"]["name"] == "ring.tif"
    assert len(settings["slide"]["digest"]) == 64


def test_an_error_of_the_disk_gets_its_place(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device; finished tiles are kept: make space.*x\.u8") as caught:  # noqa: SIM117
        with naming(tmp_path / "x.u8"):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="as it was"), naming(tmp_path):
        raise OSError("as it was")
