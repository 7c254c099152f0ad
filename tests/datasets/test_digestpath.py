"""DigestPath's layout becomes places of tiles in pictures, or nothing at all."""

import json

import numpy as np
import pytest
from PIL import Image

from medkd.datasets import DataError
from medkd.datasets.digestpath import patient_of, prepare_digestpath
from medkd.slides import read_tile

OPTIONS = {"tile_size": 64, "validation": 0.3, "test": 0.3}


def picture(path, tumour):
    """Tissue everywhere but at the left; of a positive one the lower right quarter is tumour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((200, 260, 3), 240, np.uint8)
    pixels[:, 70:] = (220, 160, 200)
    if tumour:
        pixels[100:, 130:] = (120, 60, 160)
        mask = np.zeros((200, 260), np.uint8)
        mask[100:, 130:] = 255
        Image.fromarray(mask).save(path.with_name(f"{path.stem}_mask.jpg"))
    Image.fromarray(pixels).save(path)


@pytest.fixture
def source(tmp_path):
    for patient in "ABCDIJKL":
        for number in range(2):
            picture(
                tmp_path / "source" / "tissue-train-pos-v1" / f"{patient}_2019-05-07 23-56-2{number}-lv1-1-2-3-4.jpg",
                True,
            )
    for patient in "EFGH":
        picture(tmp_path / "source" / "tissue-train-neg" / f"{patient}.ndpi.16.1_2.3x4.jpg", False)
    return tmp_path / "source"


def prepare(source, out="out", **options):
    prepare_digestpath(source, source.parent / out, **(OPTIONS | options))
    return json.loads((source.parent / out / "datalist.json").read_text())


@pytest.mark.parametrize(
    ("stem", "patient"),
    [
        ("18-09926A_2019-05-07 23-56-22-lv1-22405-10278-6015-4519", "18-09926A"),
        ("2019-03-26 18.12.34.ndpi.16.14788_15256.2776x3342", "2019-03-26 18.12.34"),
        ("D201804874_2019-05-14 13-45-19-lv1-1-2-3-4", "D201804874"),
        ("plain", "plain"),
    ],
)
def test_patients_of_names(stem, patient):
    assert patient_of(stem) == patient


def test_items_are_places_in_pictures_with_the_right_share_of_tumour(source):
    datalist = prepare(source)
    for section in ("training", "validation", "test"):
        assert datalist[section]
        for item in datalist[section]:
            tile = read_tile((source.parent / "out" / item["image"]).resolve(), item["location"], item["size"])
            assert item["tumour_fraction"] == pytest.approx(float((tile[..., 1] < 110).mean()), abs=0.05)
            assert ("mask" in item) == (item["patient"] in "ABCDIJKL")
            assert item["location"][1] > 0  # no tile of glass alone
            assert item["location"][1] + 64 <= 260
    assert {item["label"] for item in datalist["training"]} == {0, 1}


def test_a_patient_is_in_one_section_and_pictures_of_one_stay_together(source):
    for seed in range(3):
        datalist = prepare(source, f"seed{seed}", seed=seed)
        patients = [{item["patient"] for item in datalist[s]} for s in ("training", "validation", "test")]
        assert sum(map(len, patients)) == len(set.union(*patients)) == 12
        assert len(patients[1]) >= 2 <= len(patients[2])


def test_tiles_are_cut_out_when_asked(source):
    datalist = prepare(source, write_tiles=True)
    item = next(i for i in datalist["training"] if 0.2 < i["tumour_fraction"] < 0.9)
    tile, mask = (np.asarray(Image.open(source.parent / "out" / item[key])) for key in ("image", "mask"))
    assert tile.shape == (64, 64, 3)
    assert set(np.unique(mask)) == {0, 255}
    assert ((tile[..., 1] < 110) == (mask == 255)).mean() > 0.95


def test_all_problems_come_at_once(source):
    positive, negative = source / "tissue-train-pos-v1", source / "tissue-train-neg"
    first, *_ = sorted(p for p in positive.glob("*.jpg") if "mask" not in p.name)
    first.with_name(f"{first.stem}_mask.jpg").unlink()
    Image.new("L", (260, 200)).save(negative / "E.ndpi.16.1_2.3x4_mask.jpg")
    picture(source / "other" / "x.jpg", False)
    with pytest.raises(DataError) as caught:
        prepare(source)
    found = caught.value.problems
    assert len(found) == 3
    assert any(f"{first.name}: expected a mask {first.stem}_mask.jpg beside it, found none" in p for p in found)
    assert any("3x4.jpg: expected no mask of a negative picture beside it, found" in p for p in found)
    assert any("x.jpg: expected a folder whose name contains either pos or neg, found other" in p for p in found)


def test_masks_must_fit_and_pictures_must_be_readable(source):
    positive = source / "tissue-train-pos-v1"
    first, second, third, *_ = sorted(p for p in positive.glob("*.jpg") if "mask" not in p.name)
    Image.new("L", (100, 50)).save(first.with_name(f"{first.stem}_mask.jpg"))
    Image.new("L", (260, 200)).save(second.with_name(f"{second.stem}_mask.jpg"))
    third.write_bytes(third.read_bytes()[:500])
    with pytest.raises(DataError) as caught:
        prepare(source)
    sizes, empty, cut = caught.value.problems
    assert sizes.endswith("_mask.jpg: expected the size of its picture (200, 260), found (50, 100)")
    assert empty.endswith("_mask.jpg: expected tumour in the mask of a positive picture, found none")
    assert f"{third.name}: expected a slide or a picture, found a file that cannot be read" in cut
    assert not (source.parent / "out").exists()


def test_an_empty_folder_is_a_problem(tmp_path):
    with pytest.raises(DataError, match="expected pictures in folders named pos and neg, found none"):
        prepare_digestpath(tmp_path, tmp_path / "out")


def test_one_class_alone_is_refused(source):
    for path in (source / "tissue-train-neg").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r'"validation": expected positive and negative images, found'):
        prepare(source, positive_fraction=1.0, tile_size=100)
    assert not (source.parent / "out").exists()
