"""Contours: closed rings with holes, in level-0 pixels, as QuPath wants them."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from medkd.slides.contours import area as enclosed
from medkd.slides.contours import find_contours, without_holes, write_geojson


def area(ring):
    x, y = np.array(ring).T
    return 0.5 * float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())


def test_a_square_with_a_hole_lies_on_the_pixels_borders():
    probability = np.zeros((20, 30), np.uint8)
    probability[4:14, 6:20] = 255
    probability[7:10, 9:12] = 0
    ((outline, hole),) = find_contours(probability, threshold=0.5, scale=8.0, size=(160, 240))
    for ring, (low, high) in ((outline, ((48, 32), (160, 112))), (hole, ((72, 56), (96, 80)))):
        assert ring[0] == ring[-1]
        assert np.allclose(np.min(ring, 0), low, atol=0.05)
        assert np.allclose(np.max(ring, 0), high, atol=0.05)
    assert area(outline) > 0 > area(hole)


def test_polygons_end_with_the_slide_and_the_threshold_counts():
    probability = np.full((5, 6), 100, np.uint8)
    assert list(find_contours(probability, threshold=0.5, scale=10.0, size=(47, 55))) == []
    ((ring,),) = find_contours(probability, threshold=0.3, scale=10.0, size=(47, 55))
    assert np.min(ring, 0).tolist() == [1.18, 1.18] or np.min(ring) >= 0
    assert np.max(ring, 0).tolist() == [55, 47]


def test_features_are_what_qupath_opens(tmp_path):
    probability = np.zeros((20, 30), np.uint8)
    probability[2:6, 2:6] = probability[10:14, 10:14] = 200
    polygons = find_contours(probability, threshold=0.5, scale=1.0, size=(20, 30))
    assert write_geojson(tmp_path / "a.geojson", polygons, class_name="tumour", threshold=0.5) == 2
    content = json.loads((tmp_path / "a.geojson").read_text())
    assert content["type"] == "FeatureCollection"
    for feature in content["features"]:
        assert feature["type"] == "Feature"
        assert feature["geometry"]["type"] == "Polygon"
        classification = {"name": "tumour", "color": [200, 0, 0]}
        assert feature["properties"] == {"objectType": "annotation", "classification": classification}


def test_nothing_found_is_an_empty_collection(tmp_path):
    assert write_geojson(tmp_path / "a.geojson", iter([]), class_name="tumour", threshold=0.5) == 0
    assert json.loads((tmp_path / "a.geojson").read_text())["features"] == []


def test_a_ring_without_holes_covers_what_the_polygon_covers():
    probability = np.zeros((40, 60), np.uint8)
    probability[4:36, 4:56] = 255
    probability[10:20, 10:20] = probability[12:30, 30:50] = 0
    (rings,) = find_contours(probability, threshold=0.5, scale=4, size=(160, 240))
    assert len(rings) == 3
    ring = without_holes(rings)
    assert ring[0] == ring[-1]
    assert enclosed(ring) == pytest.approx(enclosed(rings[0]) - enclosed(rings[1]) - enclosed(rings[2]))
    drawn = Image.new("L", (240, 160))
    ImageDraw.Draw(drawn).polygon([tuple(point) for point in ring], fill=1)
    expected = np.kron(probability > 0, np.ones((4, 4), bool))
    assert (np.asarray(drawn) == expected).mean() > 0.98  # but for the pixels on outlines and on the ways to the holes
