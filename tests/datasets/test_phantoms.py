"""Cardiac phantoms: deterministic, complete, and a dataset that passes its own check."""

import re

import nibabel as nib
import numpy as np
import pytest

from medkd.datasets import check_datalist, load_datalist, make_cardiac_phantoms
from medkd.datasets.phantoms import cardiac_phantom, scribble

SMALL = {"strong": 1, "weak": 2, "validation": 1, "test": 1, "size": 48, "slices": 2}


def read(path):
    return np.asarray(nib.load(path).dataobj)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms") / "set"
    return folder, make_cardiac_phantoms(folder, **SMALL)


def test_the_dataset_has_the_volumes_asked_for_and_passes_its_check(dataset):
    folder, counts = dataset
    assert counts == check_datalist(folder)
    assert counts == {
        "training": {"images": 3, "patients": 3, "strong": 1},
        "validation": {"images": 1, "patients": 1, "strong": 1},
        "test": {"images": 1, "patients": 1, "strong": 1},
    }
    assert len(list(folder.rglob("*.nii.gz"))) == 5 + 5 + 3


def test_the_datalist_names_classes_and_supervision(dataset):
    datalist = load_datalist(dataset[0])
    assert datalist["labels"] == {"0": "background", "1": "right ventricle", "2": "myocardium", "3": "left ventricle"}
    assert [item["supervision"] for item in datalist["training"]] == ["strong", "weak", "weak"]
    assert all("weak_label" in item for item in datalist["training"])
    assert all("weak_label" not in item for item in datalist["validation"] + datalist["test"])


def test_volumes_have_their_size_and_spacing(dataset):
    item = load_datalist(dataset[0], "training")[0]
    for key, dtype in (("image", np.float32), ("label", np.uint8), ("weak_label", np.uint8)):
        volume = nib.load(item[key])
        assert volume.shape == (48, 48, 2)
        assert volume.header.get_zooms() == (1.5, 1.5, 8.0)
        assert volume.header.get_xyzt_units()[0] == "mm"
        assert volume.get_data_dtype() == dtype


def test_everything_is_drawn_from_the_seed(dataset, tmp_path):
    folder, _ = dataset
    make_cardiac_phantoms(tmp_path / "again", **SMALL)
    make_cardiac_phantoms(tmp_path / "other", **SMALL, seed=1)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.nii.gz"))
    assert all(np.array_equal(read(folder / file), read(tmp_path / "again" / file)) for file in files)
    assert not any(np.array_equal(read(folder / file), read(tmp_path / "other" / file)) for file in files)


def test_the_volumes_of_a_dataset_differ(dataset):
    images = [read(path) for path in sorted((dataset[0] / "images").iterdir())]
    assert len(images) == 5
    assert not any(np.array_equal(a, b) for i, a in enumerate(images) for b in images[:i])


@pytest.mark.parametrize("size", [48, 96])
def test_every_class_is_in_every_slice(size):
    for seed in range(8):
        image, label = cardiac_phantom(np.random.default_rng(seed), size=size, slices=4)
        assert image.shape == label.shape == (size, size, 4)
        assert (image.dtype, label.dtype) == (np.float32, np.uint8)
        assert np.isfinite(image).all()
        for depth in range(4):
            assert set(np.unique(label[..., depth])) == {0, 1, 2, 3}


def test_blood_is_brighter_than_muscle_and_the_heart_tapers():
    for seed in range(4):
        image, label = cardiac_phantom(np.random.default_rng(seed), size=64, slices=4)
        right, muscle, left = (image[label == value].mean() for value in (1, 2, 3))
        assert min(right, left) > muscle + 0.1
        areas = (label > 0).sum((0, 1))
        assert (np.diff(areas) < 0).all()


def test_scribbles_lie_inside_every_class_of_every_slice():
    for seed in range(8):
        rng = np.random.default_rng(seed)
        _, label = cardiac_phantom(rng, size=48, slices=3)
        weak = scribble(label, rng)
        annotated = weak != 255
        assert weak.dtype == np.uint8
        assert np.array_equal(weak[annotated], label[annotated])
        for depth in range(3):
            assert set(np.unique(weak[..., depth])) == {0, 1, 2, 3, 255}
        assert annotated.mean() < 0.1


def test_scribbles_take_another_ignored_value():
    _, label = cardiac_phantom(np.random.default_rng(0), size=48, slices=2)
    weak, usual = (scribble(label, np.random.default_rng(1), ignore_index=value) for value in (9, 255))
    assert np.array_equal(weak, np.where(usual == 255, 9, usual))


@pytest.mark.parametrize(
    "changes",
    [{"size": 47}, {"slices": 1}, {"strong": 0}, {"weak": -1}, {"validation": 0}, {"test": 0}],
    ids=lambda changes: "{}={}".format(*next(iter(changes.items()))),
)
def test_numbers_out_of_range_are_refused(tmp_path, changes):
    with pytest.raises(
        ValueError, match="expected size >= 48, slices >= 2, weak >= 0 and at least one volume in every"
    ):
        make_cardiac_phantoms(tmp_path / "set", **SMALL | changes)
    assert not (tmp_path / "set").exists()


def test_no_weak_volume_is_fine(tmp_path):
    counts = make_cardiac_phantoms(tmp_path / "set", **SMALL | {"weak": 0})
    assert counts["training"] == {"images": 1, "patients": 1, "strong": 1}


def test_an_output_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    expected = f"{tmp_path} exists and is not an empty folder; name another output or remove it first"
    with pytest.raises(FileExistsError, match=re.escape(expected)):
        make_cardiac_phantoms(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
