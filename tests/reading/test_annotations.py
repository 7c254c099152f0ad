"""ASAP's XML: the right pixels, and clear errors."""

import numpy as np
import pytest

from medkd.slides import rasterise, read_annotation, write_annotation

SQUARE = np.array([[10, 20], [30, 20], [30, 50], [10, 50]])  # x from 10 to 30, y from 20 to 50


def test_a_rectangle_is_exact(tmp_path):
    write_annotation(tmp_path / "a.xml", {"_0": SQUARE})
    mask = rasterise(tmp_path / "a.xml", (0, 0), (60, 40))
    assert mask.dtype == np.uint8
    assert mask[20:50, 10:30].all()
    assert mask.sum() == 30 * 20
    assert np.array_equal(rasterise(tmp_path / "a.xml", (15, 5), (20, 20)), mask[15:35, 5:25])


def test_a_tile_at_a_lower_resolution(tmp_path):
    write_annotation(tmp_path / "a.xml", {"Tumor": SQUARE})
    assert np.array_equal(rasterise(tmp_path / "a.xml", (0, 0), (6, 4), 10)[2:5, 1:3], np.ones((3, 2)))
    assert rasterise(tmp_path / "a.xml", (0, 0), (6, 4), 10).sum() == 6


def test_exclusions_are_cut_out_and_polygons_that_overlap_stay_whole(tmp_path):
    shapes = {"Tumor": SQUARE, "_1": SQUARE + 5, "_2": np.array([[12, 22], [14, 22], [14, 24], [12, 24]])}
    write_annotation(tmp_path / "a.xml", shapes)
    mask = rasterise(tmp_path / "a.xml", (0, 0), (60, 40))
    assert mask.sum() == 2 * 600 - 15 * 25 - 4
    assert mask[30, 20] == 1
    assert not mask[22:24, 12:14].any()


def test_the_ring_is_right_to_the_pixel(made, truth, tmp_path):
    write_annotation(tmp_path / "a.xml", made[1].polygons())
    mask = rasterise(tmp_path / "a.xml", (0, 0), truth.shape)
    assert (mask != (truth == 2)).sum() < 20  # a polygon of 720 corners is not quite a circle


def test_any_polygon_follows_the_even_odd_rule(tmp_path):
    points = np.random.default_rng(0).uniform(-5, 45, (12, 2))
    write_annotation(tmp_path / "a.xml", {"Tumor": points})
    mask = rasterise(tmp_path / "a.xml", (0, 0), (40, 40))
    y, x = np.mgrid[:40, :40] + 0.5
    crossings = np.zeros((40, 40), int)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0), strict=True):
        between = (y0 <= y) != (y1 <= y)
        crossings += between & (x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x)
    assert np.array_equal(mask, crossings % 2)


def test_points_outside_the_slide_are_named(tmp_path):
    write_annotation(tmp_path / "a.xml", {"Tumor": SQUARE, "_1": SQUARE + 100})
    (problem,) = read_annotation(tmp_path / "a.xml").problems((100, 100))
    assert problem.endswith(
        "a.xml: expected points within the slide of 100 × 100 pixels, found (110, 120) and 3 more outside"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no xml", "expected an annotation of ASAP in XML, found something else"),
        ("<A><Annotation PartOfGroup='Tumor'><Coordinate X='a' Y='1'/></Annotation></A>", "found something else"),
        (
            "<A><Annotation PartOfGroup='Stroma'/></A>",
            "expected the groups Tumor, Exclusion, _0, _1 or _2, found Stroma",
        ),
        ("<A><Annotation PartOfGroup='Tumor'/></A>", "expected a polygon of tumour, found none"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(ValueError, match=rf"a\.xml: .*{message}"):
        read_annotation(tmp_path / "a.xml")
    with pytest.raises(FileNotFoundError, match=r"none\.xml"):
        read_annotation(tmp_path / "none.xml")
