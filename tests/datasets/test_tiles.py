"""Folders of tiles and GlaS: what becomes a datalist, and what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medkd.cli import main
from medkd.datasets import DataError, check_datalist, load_datalist, prepare_glas, prepare_tiles


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, dtype=np.uint8)).save(path)


def noise(seed=0, shape=(32, 32, 3)):
    return np.random.default_rng(seed).integers(0, 255, shape)


def square(size=32, lit=True):
    mask = np.zeros((size, size))
    mask[8:20, 8:20] = 255 * lit
    return mask


@pytest.fixture
def source(tmp_path):
    """Twelve tiles of six patients, every other positive."""
    rows = []
    for number in range(12):
        name = f"tile{number:02d}"
        save(tmp_path / "tiles" / f"{name}.png", noise(number))
        if number % 2:
            save(tmp_path / "masks" / f"{name}.png", square())
        rows.append({"image": f"{name}.png", "label": number % 2, "patient": f"p{number // 2}"})
    write(tmp_path, rows)
    return tmp_path, rows


def write(root, rows):
    with (root / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys() if rows else ["image", "label"])
        writer.writeheader()
        writer.writerows(rows)


def prepare(root, **options):
    options = {"labels": root / "labels.csv", "masks": root / "masks", **options}
    return prepare_tiles(root / "tiles", root / "data", **options)


def problems(root, **options):
    with pytest.raises(DataError) as caught:
        prepare(root, **options)
    assert not (root / "data").exists()
    return "\n".join(caught.value.problems)


def test_tiles_become_a_datalist_by_patient(source):
    root, _ = source
    found = prepare(root)
    assert {name: counts["images"] for name, counts in found.items()} == {"training": 8, "validation": 2, "test": 2}
    datalist = load_datalist(root / "data")
    items = [item for section in found for item in datalist[section]]
    assert len({item["patient"] for item in items}) == sum(counts["patients"] for counts in found.values())
    assert all(("mask" in item) == (item["label"] == 1) for item in items)
    assert check_datalist(root / "data") == found
    assert datalist["labels"] == {"0": "background", "1": "tumour"}  # class_names of the bundle


def test_the_class_of_the_tiles_may_have_another_name(source):
    root, _ = source
    arguments = [str(root / "tiles"), str(root / "data"), "--labels", str(root / "labels.csv"), "--class_name", "gland"]
    assert main(["data", "tiles", *arguments]) == 0
    assert load_datalist(root / "data", class_names=["gland"])["labels"]["1"] == "gland"


def test_a_split_of_the_user_s_own_is_kept(source):
    root, rows = source
    sections = ["training"] * 4 + ["validation"] * 4 + ["test"] * 4
    write(root, [{**row, "section": section} for row, section in zip(rows, sections, strict=True)])
    prepare(root)
    datalist = load_datalist(root / "data")
    assert [len(datalist[section]) for section in ("training", "validation", "test")] == [4, 4, 4]


def test_every_problem_of_the_table_is_told_at_once(source):
    root, rows = source
    rows[0]["image"] = "nothing.png"  # unknown; tile00 is then missing
    rows[2]["label"] = "maybe"
    write(root, [*rows, rows[5]])
    found = problems(root)
    assert "line 2: expected the name of a tile, found 'nothing.png'" in found
    assert "expected a label of tile00.png, found none" in found
    assert "line 4: expected the label 0 or 1 of 'tile02.png', found 'maybe'" in found
    assert "line 14: expected 'tile05.png' once, found it again" in found


def test_one_class_alone_is_refused(source):
    root, rows = source
    write(root, [{**row, "label": 0} for row in rows])
    assert '"training": expected positive and negative images, found label 0 alone' in problems(root, masks=None)


def test_a_positive_tile_with_an_empty_mask_is_refused(source):
    root, _ = source
    save(root / "masks" / "tile03.png", square(lit=False))
    assert "tile03.png: expected foreground, as its tile's label is 1, found an empty mask" in problems(root)


def test_a_negative_tile_with_foreground_is_refused(source):
    root, _ = source
    save(root / "masks" / "tile04.png", square())
    assert "tile04.png: expected an empty mask, as its tile's label is 0, found foreground" in problems(root)


def test_tiles_of_mixed_size_are_refused(source):
    root, _ = source
    save(root / "tiles" / "tile00.png", noise(0, (48, 32, 3)))
    assert "expected tiles of one size, found (rows × columns: tiles) 32 × 32: 11, 48 × 32: 1" in problems(root)


def test_a_mask_of_another_size_is_refused(source):
    root, _ = source
    save(root / "masks" / "tile01.png", square(48))
    assert "tile01.png: expected the size of its tile (32, 32), found (48, 48)" in problems(root)


def test_a_tile_that_cannot_be_decoded_is_refused(source):
    root, _ = source
    (root / "tiles" / "tile02.png").write_bytes(b"no picture")
    assert "tile02.png: cannot be read" in problems(root)


def test_columns_must_be_there(source):
    root, _ = source
    write(root, [{"file": "tile00.png", "class": 1}])
    assert "expected the columns image and label, found file, class" in problems(root)


def test_the_command_prints_what_there_is(source, capsys):
    root, _ = source
    arguments = ["data", "tiles", root / "tiles", root / "data", "--labels", root / "labels.csv"]
    assert main([str(argument) for argument in arguments]) == 0
    printed = capsys.readouterr().out.split("\n")
    assert printed[0].split() == ["section", "images", "patients", "positive"]
    assert printed[1].split() == ["training", "8", "4", "4"]


@pytest.fixture
def glas(tmp_path):
    """Four images of four patients; a gland in the left half of each."""
    rows = [["name", "patient_id", "grade_glas"]]
    for number, grade in enumerate(["benign", "malignant"] * 2):
        name = f"train_{number}"
        save(tmp_path / "images" / f"{name}.png", noise(number, (64, 96, 3)))
        mask = np.zeros((64, 96))
        mask[:, :40] = 255
        save(tmp_path / "masks" / f"{name}.png", mask)
        rows.append([name, str(number), grade])
    with (tmp_path / "grade.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path


def test_glas_is_cut_by_coordinates(glas):
    found = prepare_glas(glas, glas / "data", tile_size=32, stride=32, validation=0.25, test=0.25)
    assert {name: counts["images"] for name, counts in found.items()} == {"training": 12, "validation": 6, "test": 6}
    items = load_datalist(glas / "data", "training")
    labels = {tuple(item["location"]): item["label"] for item in items}
    assert labels == {(0, 0): 1, (0, 32): 1, (0, 64): 0, (32, 0): 1, (32, 32): 1, (32, 64): 0}
    assert {tuple(item["size"]) for item in items} == {(32, 32)}
    assert check_datalist(glas / "data") == found
    assert [path.name for path in (glas / "data").iterdir()] == ["datalist.json"]


def test_tiles_with_hardly_any_gland_are_tested_on_alone(glas):
    options = {"tile_size": 32, "stride": 32, "validation": 0.25, "test": 0.25}
    found = prepare_glas(glas, glas / "data", positive_fraction=0.5, **options)
    assert {name: counts["images"] for name, counts in found.items()} == {"training": 8, "validation": 4, "test": 6}


def test_malignancy_takes_whole_images_of_which_benign_ones_need_no_mask(glas):
    with (glas / "grade.csv").open("a") as file:  # every patient gets an image of the other grade
        for number in range(4):
            for folder in ("images", "masks"):
                (glas / folder / f"test_{number}.png").write_bytes((glas / folder / "train_0.png").read_bytes())
            file.write(f"test_{number},{number},{('malignant', 'benign')[number % 2]}\n")
    prepare_glas(glas, glas / "data", task="malignancy", validation=0.25, test=0.25)
    datalist = load_datalist(glas / "data")
    items = [item for section in ("training", "validation", "test") for item in datalist[section]]
    assert len(items) == 8
    assert all(("mask" in item) == (item["label"] == 1) and "size" not in item for item in items)


def test_glas_reports_what_is_missing_together(glas):
    (glas / "masks" / "train_0.png").unlink()
    save(glas / "masks" / "train_1.png", square(32))
    rows = (glas / "grade.csv").read_text().replace("train_2,2,benign\n", "").replace("3,malignant", "3,unknown")
    (glas / "grade.csv").write_text(rows)
    with pytest.raises(DataError) as caught:
        prepare_glas(glas, glas / "data", tile_size=32, stride=32)
    found = "\n".join(caught.value.problems)
    assert "train_0.png: expected a mask train_0.*" in found
    assert "train_1.png: expected the size of its image (64, 96), found (32, 32)" in found
    assert "expected a row of train_2, found none" in found
    assert "expected benign or malignant for train_3" in found
    assert not (glas / "data").exists()


@pytest.mark.parametrize("options", [{"task": "cells"}, {"stride": 0}, {"positive_fraction": 1.0}])
def test_glas_options_out_of_range_are_refused(glas, options):
    with pytest.raises(ValueError, match="expected a task of"):
        prepare_glas(glas, glas / "data", **options)


def test_real_glas(shared, tmp_path):
    found = prepare_glas(shared / "data" / "glas", tmp_path / "data")
    assert {name: (counts["images"], counts["images"] - counts["positive"]) for name, counts in found.items()} == {
        "training": (7055, 842),
        "validation": (528, 56),
        "test": (1068, 121),
    }
    committed = json.loads((Path(__file__).parents[2] / "data" / "glas" / "splits.json").read_text())
    datalist = load_datalist(tmp_path / "data")
    assert {name: sorted({item["patient"] for item in datalist[name]}) for name in committed} == committed
    whole = prepare_glas(shared / "data" / "glas", tmp_path / "whole", task="malignancy")
    assert sum(counts["images"] for counts in whole.values()) == 165
    with (tmp_path / "data" / "datalist.json").open() as file:
        assert set(json.load(file)["training"][0]) == {
            "image",
            "mask",
            "patient",
            "region",
            "location",
            "size",
            "label",
        }
