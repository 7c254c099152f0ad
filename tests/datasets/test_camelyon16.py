"""Camelyon16's layout becomes places of tiles with labels, or nothing at all."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medkd.datasets import DataError
from medkd.datasets.camelyon16 import prepare_camelyon16
from medkd.slides import make_slide, read_tile, write_annotation

NAMES = [
    "training/normal/normal_001",
    "training/normal/normal_002",
    "training/tumor/tumor_001",
    "training/tumor/tumor_002",
]
NAMES += ["testing/images/test_001", "testing/images/test_002", "testing/images/test_114"]
OPTIONS = {"tile_size": 64, "validation": 0.5, "positive_fraction": 0.5}


@pytest.fixture
def source(tmp_path):
    """Slides of 500 x 600 with a ring of tumour; that of the normal ones is not annotated."""
    (tmp_path / "annotations").mkdir()
    for name in NAMES:
        path = tmp_path / "slides" / f"{name}.tif"
        made = make_slide(path, (500, 600))
        if path.stem in {"tumor_001", "tumor_002", "test_001"}:
            shapes = made.polygons()
            write_annotation(
                tmp_path / "annotations" / f"{path.stem.title()}.xml",
                {"_0": shapes["Tumor"], "_2": shapes["Exclusion"]},
            )
    return tmp_path


def prepare(source, out="out", **options):
    prepare_camelyon16(source / "slides", source / "annotations", source / out, **(OPTIONS | options))
    return json.loads((source / out / "datalist.json").read_text())


def problems_of(source, **options):
    with pytest.raises(DataError) as caught:
        prepare(source, **options)
    assert not (source / "out").exists()
    return caught.value.problems


def test_items_are_places_in_slides(source):
    datalist = prepare(source)
    assert datalist["labels"] == {"0": "background", "1": "tumour"}
    assert sorted(path.name for path in (source / "out").iterdir()) == ["datalist.json"]
    for section in ("training", "validation", "test"):
        for item in datalist[section]:
            path = (source / "out" / item["image"]).resolve()
            assert path.stem == item["patient"]
            tile = read_tile(path, item["location"], item["size"], level=item["level"])
            dark = float((tile[..., 1] < 130).mean())
            if "mask" in item:
                assert (source / "out" / item["mask"]).resolve().stem.lower() == path.stem
                assert item["tumour_fraction"] == pytest.approx(dark, abs=0.04)
            else:
                assert item["tumour_fraction"] == item["label"] == 0
            assert item["label"] == int(item["tumour_fraction"] >= 0.5)
            assert item["size"] == [64, 64]


def test_slides_are_split_by_kind_and_the_test_set_is_the_challenge_s(source):
    datalist = prepare(source)
    patients = {
        section: {item["patient"] for item in datalist[section]} for section in ("training", "validation", "test")
    }
    assert patients["test"] == {"test_001", "test_002"}  # 114 is discarded
    for section in ("training", "validation"):
        assert sorted(name.split("_")[0] for name in patients[section]) == ["normal", "tumor"]
    assert prepare(source, "again") == datalist
    others = [prepare(source, f"seed{seed}", seed=seed)["validation"] for seed in range(1, 5)]
    assert any({i["patient"] for i in other} != patients["validation"] for other in others)


def test_tiles_in_between_are_for_the_test_alone(source):
    datalist = prepare(source)
    between = {
        s: [i for i in datalist[s] if 0 < i["tumour_fraction"] < 0.5] for s in ("training", "validation", "test")
    }
    assert not between["training"]
    assert not between["validation"]
    assert between["test"]
    assert all(item["label"] == 0 for item in between["test"])


def test_tiles_can_be_drawn(source):
    everything, some = prepare(source, "all", tiles_per_slide=None), prepare(source, tiles_per_slide=3)
    for section in ("training", "validation", "test"):
        assert len(some[section]) < len(everything[section])
        assert all(item in everything[section] for item in some[section])
        for patient in {item["patient"] for item in some[section]}:
            labels = [item["label"] for item in some[section] if item["patient"] == patient]
            assert sorted(labels) == [0, 0, 0] + [1, 1, 1] * (patient in {"tumor_001", "tumor_002", "test_001"})


def test_tiles_are_cut_out_when_asked(source):
    datalist = prepare(source, write_tiles=True, tiles_per_slide=2)
    (item, *_) = [i for i in datalist["test"] if i["label"] == 1]
    assert set(item) == {"image", "mask", "label", "tumour_fraction", "patient"}
    tile, mask = (np.asarray(Image.open(source / "out" / item[key])) for key in ("image", "mask"))
    assert tile.shape == (64, 64, 3)
    assert ((tile[..., 1] < 130) == (mask == 255)).mean() > 0.99
    top, left = map(int, Path(item["image"]).stem.split("_"))
    assert np.array_equal(
        tile, read_tile(source / "slides" / "testing" / "images" / "test_001.tif", (top, left), (64, 64))
    )


def test_all_problems_of_names_come_at_once(source):
    slides = source / "slides"
    (slides / "other.tif").touch()
    (source / "annotations" / "Tumor_001.xml").unlink()
    write_annotation(source / "annotations" / "normal_001.xml", {"Tumor": np.zeros((3, 2))})
    (slides / "testing" / "test_001.tif").touch()
    found = problems_of(source)
    assert len(found) == 4
    assert any(p.endswith("other.tif: expected a name normal_*, tumor_* or test_*, found other.tif") for p in found)
    assert any("tumor_001.tif: expected an annotation tumor_001.xml in " in p for p in found)
    assert any("normal_001.tif: expected no annotation of a normal slide in " in p for p in found)
    assert any("test_001.tif: expected one slide of this name, found " in p for p in found)


def test_all_problems_of_contents_come_at_once(source):
    (source / "slides" / NAMES[0]).with_suffix(".tif").write_bytes(b"no slide")
    make_slide((source / "slides" / NAMES[1]).with_suffix(".tif"), (300, 300), tissue_diameter=0)
    write_annotation(source / "annotations" / "Tumor_001.xml", {"Tumor": np.array([[0, 0], [9, 9], [700, 20]])})
    (source / "annotations" / "Tumor_002.xml").write_text("<A><Annotation PartOfGroup='Stroma'/></A>")
    found = problems_of(source)
    assert len(found) == 4
    assert "normal_001.tif: expected a slide or a picture, found a file that cannot be read" in found[0]
    assert "normal_002.tif: expected tissue, found none" in found[1]
    assert "expected points within the slide of 600 × 500 pixels, found (700, 20) and 0 more outside" in found[2]
    assert "expected the groups Tumor, Exclusion, _0, _1 or _2, found Stroma" in found[3]


def test_empty_folders_are_problems(tmp_path):
    (tmp_path / "slides").mkdir()
    (tmp_path / "annotations").mkdir()
    (first,) = problems_of(tmp_path)
    assert first.endswith("annotations: expected annotations *.xml, found none")
    write_annotation(tmp_path / "annotations" / "tumor_001.xml", {"Tumor": np.zeros((3, 2))})
    (second,) = problems_of(tmp_path)
    assert second.endswith("slides: expected slides normal_*, tumor_* and test_*, found none")


@pytest.mark.parametrize(
    "options", [{"tile_size": 0}, {"positive_fraction": 0}, {"positive_fraction": 1.5}, {"tiles_per_slide": 0}]
)
def test_impossible_options_are_refused(source, options):
    with pytest.raises(ValueError, match=r"expected ti.* got"):
        prepare(source, **options)


def test_a_share_that_leaves_a_set_empty_is_refused(source):
    with pytest.raises(ValueError, match="leave patients for training"):
        prepare(source, validation=0.9)
