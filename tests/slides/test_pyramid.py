"""The OME-TIFF: right pixels on every level, physical size, and its settings."""

import numpy as np
import openslide
import pytest
import tifffile

from medkd.slides.pyramid import Level, build_levels, read_settings, write_pyramid


@pytest.fixture
def levels(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (1501, 1203), dtype=np.uint8)
    values.tofile(tmp_path / "map.u8")
    return values, build_levels(Level(tmp_path / "map.u8", values.shape, 4.0))


def test_levels_are_means_of_two_by_two(levels):
    values, built = levels
    assert [level.shape for level in built] == [(1501, 1203), (751, 602), (376, 301)]
    assert [level.scale for level in built] == [4, 8, 16]
    even = values[:1500, :1202].astype(float).reshape(750, 2, 601, 2).mean((1, 3))
    assert np.abs(built[1].array()[:750, :601] - even).max() <= 0.5
    assert built[1].array()[750, 601] == values[1500, 1202]


def test_it_reads_back_with_levels_and_physical_size(levels, tmp_path):
    values, built = levels
    write_pyramid(tmp_path / "a.ome.tif", built, mpp=0.25, settings={"halo": 3})
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        assert file.is_ome
        (series,) = file.series
        assert [level.shape for level in series.levels] == [level.shape for level in built]
        for level, expected in zip(series.levels, built, strict=True):
            assert np.array_equal(level.asarray(), expected.array())
            assert level.pages[0].tile == (256, 256)
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        assert pixels["PhysicalSizeX"] == pixels["PhysicalSizeY"] == 1.0
        assert pixels["PhysicalSizeXUnit"] == "µm"
    assert read_settings(tmp_path / "a.ome.tif") == {"halo": 3}
    with openslide.OpenSlide(tmp_path / "a.ome.tif") as slide:
        assert slide.dimensions == (1203, 1501)
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(1.0)
        corner = np.asarray(slide.read_region((1000, 1400), 0, (50, 40)))[..., 0]
    assert np.array_equal(corner, values[1400:1440, 1000:1050])


def test_the_same_map_is_the_same_file(levels, tmp_path):
    for name in ("a.ome.tif", "b.ome.tif"):
        write_pyramid(tmp_path / name, levels[1], mpp=None, settings={"halo": 3})
    assert (tmp_path / "a.ome.tif").read_bytes() == (tmp_path / "b.ome.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        assert "PhysicalSize" not in file.ome_metadata


def test_other_files_have_no_settings(tmp_path):
    (tmp_path / "text.tif").write_text("no map")
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((4, 4), np.uint8))
    tifffile.imwrite(tmp_path / "other.ome.tif", np.zeros((4, 4), np.uint8))
    assert [read_settings(tmp_path / name) for name in ("text.tif", "plain.tif", "other.ome.tif")] == [{}, {}, {}]
