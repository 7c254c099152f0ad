"""The official ACDC layout becomes a checked datalist, split by patient, or nothing at all."""

import os
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medkd.datasets import DataError, load_datalist, prepare_acdc
from medkd.datasets.acdc import split_acdc

PATIENTS = [f"patient{number:03d}" for number in range(1, 13)]
AFFINE = np.diag([1.5, 1.5, 8.0, 1.0])


def write(path, values):
    nib.save(nib.Nifti1Image(values, AFFINE), path)


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """12 patients with two frames of 12 × 14 × 3, masks and scribbles; not to be changed."""
    root, rng = tmp_path_factory.mktemp("acdc"), np.random.default_rng(0)
    truth = np.zeros((12, 14, 3), dtype=np.uint8)
    truth[1:10, 1:5], truth[2:11, 5:13], truth[4:9, 7:11] = 1, 2, 3
    scribble = np.full_like(truth, 4)
    scribble[0], scribble[3:6, 2], scribble[3, 6:10], scribble[6, 8:10] = 0, 1, 2, 3
    for patient in PATIENTS:
        (root / patient).mkdir()
        (root / patient / "Info.cfg").write_text("ED: 1\n")
        (root / patient / f"{patient}_4d.nii.gz").touch()
        for frame in ("frame01", "frame12"):
            stem = root / patient / f"{patient}_{frame}"
            write(f"{stem}.nii.gz", rng.random(truth.shape, dtype=np.float32))
            write(f"{stem}_gt.nii.gz", truth)
            write(f"{stem}_scribble.nii.gz", scribble)
    return root


@pytest.fixture
def source(layout, tmp_path):
    """A copy of the layout made of links, which a test may change."""
    for patient in PATIENTS:
        folder = tmp_path / "source" / patient
        folder.mkdir(parents=True)
        for file in (layout / patient).iterdir():
            (folder / file.name).symlink_to(file)
    return tmp_path / "source"


def prepare(source, output, **options):
    return prepare_acdc(source, output, **{"strong": 2, "validation": 2} | options)


def read(path):
    return np.asarray(nib.load(path).dataobj)


def patients(datalist, section):
    return {item["patient"] for item in datalist[section]}


def test_all_frames_are_split_by_patient(layout, tmp_path):
    counts = prepare(layout, tmp_path / "out")
    assert counts == {
        "training": {"images": 14, "patients": 7, "strong": 4},
        "validation": {"images": 4, "patients": 2, "strong": 4},
        "test": {"images": 6, "patients": 3, "strong": 6},
    }
    datalist = load_datalist(tmp_path / "out")
    assert datalist["labels"] == {"0": "background", "1": "right ventricle", "2": "myocardium", "3": "left ventricle"}
    groups = [patients(datalist, section) for section in ("training", "validation", "test")]
    assert set.union(*groups) == set(PATIENTS)
    assert sum(map(len, groups)) == 12
    assert groups[2] == set(PATIENTS[::5])
    frame = datalist["test"][0]
    assert Path(frame["image"]) == layout / "patient001" / "patient001_frame01.nii.gz"
    assert Path(frame["label"]) == layout / "patient001" / "patient001_frame01_gt.nii.gz"
    assert frame.keys() == {"image", "label", "patient"}


def test_the_dataset_can_be_moved_together_with_its_source(source, tmp_path):
    prepare(source, tmp_path / "out")
    (tmp_path / "moved").mkdir()
    source.rename(tmp_path / "moved" / "source")
    (tmp_path / "out").rename(tmp_path / "moved" / "out")
    assert len(load_datalist(tmp_path / "moved" / "out", "training")) == 14


def test_the_same_arguments_give_the_same_files(layout, tmp_path):
    for name in ("a", "b"):
        prepare(layout, tmp_path / name, weak="random", seed=5, seed_fraction=0.2)
    first, second = (sorted(p for p in (tmp_path / name).rglob("*") if p.is_file()) for name in ("a", "b"))
    assert [p.relative_to(tmp_path / "a") for p in first] == [p.relative_to(tmp_path / "b") for p in second]
    assert (tmp_path / "a/datalist.json").read_bytes() == (tmp_path / "b/datalist.json").read_bytes()
    volumes = [(a, b) for a, b in zip(first, second, strict=True) if a.name.endswith(".nii.gz")]
    assert len(volumes) == 14
    assert all(np.array_equal(read(a), read(b)) for a, b in volumes)


def test_another_seed_gives_other_seeds(layout, tmp_path):
    for seed in (1, 2):
        prepare(layout, tmp_path / str(seed), weak="random", seed=seed, seed_fraction=0.2)
    common = {p.name for p in (tmp_path / "1/weak_labels").iterdir()} & {
        p.name for p in (tmp_path / "2/weak_labels").iterdir()
    }
    assert common
    assert any(
        not np.array_equal(read(tmp_path / f"1/weak_labels/{n}"), read(tmp_path / f"2/weak_labels/{n}")) for n in common
    )


def test_scribbles_are_kept_with_four_as_not_annotated(layout, tmp_path):
    prepare(layout, tmp_path / "out", weak="scribble")
    training = load_datalist(tmp_path / "out", "training")
    assert {item["supervision"] for item in training} == {"strong", "weak"}
    for item in training:
        given = read(item["label"].replace("_gt", "_scribble"))
        found = nib.load(item["weak_label"])
        assert found.get_data_dtype() == np.uint8
        assert np.allclose(found.affine, AFFINE)
        assert np.array_equal(np.asarray(found.dataobj), np.where(given == 4, 255, given))


@pytest.mark.parametrize("weak", ["erosion", "random", "ellipse"])
def test_seeds_are_made_from_the_masks(layout, tmp_path, weak):
    prepare(layout, tmp_path / "out", weak=weak, seed_fraction=0.2)
    for item in load_datalist(tmp_path / "out", "training"):
        truth, found = read(item["label"]), read(item["weak_label"])
        assert set(np.unique(found)) == {1, 2, 3, 255}
        assert np.array_equal(found[found != 255], truth[found != 255])
        assert (found != 255).sum() < 0.5 * (truth > 0).sum()


def test_without_weak_labels_the_other_patients_have_none(layout, tmp_path):
    prepare(layout, tmp_path / "out", weak="none")
    training = load_datalist(tmp_path / "out", "training")
    assert not any("weak_label" in item for item in training)
    assert [item["supervision"] for item in training].count("none") == 10
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["datalist.json"]


@pytest.mark.parametrize("weak", ["scribble", "random"])
def test_the_left_ventricle_alone_is_a_problem_of_two_classes(layout, tmp_path, weak):
    prepare(layout, tmp_path / "out", weak=weak, classes="lv", seed_fraction=0.2)
    datalist = load_datalist(tmp_path / "out")
    assert datalist["labels"] == {"0": "background", "1": "left ventricle"}
    for section in ("training", "validation", "test"):
        for item in datalist[section]:
            stem = Path(item["image"]).name.removesuffix(".nii.gz")
            truth = read(Path(item["image"]).with_name(f"{stem}_gt.nii.gz"))
            assert np.array_equal(read(item["label"]), truth == 3)
    for item in datalist["training"]:
        found, label = read(item["weak_label"]), read(item["label"])
        assert set(np.unique(found)) == ({0, 1, 255} if weak == "scribble" else {1, 255})
        assert np.array_equal(found[found != 255], label[found != 255])


@pytest.mark.parametrize("weak", ["scribble", "random"])
def test_missing_files_are_reported_together_and_nothing_is_written(source, tmp_path, weak):
    gone = [
        source / "patient003" / "patient003_frame01_gt.nii.gz",
        source / "patient005" / "patient005_frame12_scribble.nii.gz",
    ]
    for path in gone:
        path.unlink()
    for path in (source / "patient007").glob("*frame*"):
        path.unlink()
    with pytest.raises(DataError) as caught:
        prepare(source, tmp_path / "out", weak=weak)
    expected = [
        f"{gone[0]}: expected a label beside patient003_frame01.nii.gz, found nothing there",
        f"{gone[1]}: expected a label beside patient005_frame12.nii.gz, found nothing there",
        f"{source / 'patient007'}: expected patient007_frameFF.nii.gz, found none",
    ]
    if weak == "random":
        del expected[1]
    assert caught.value.problems == expected
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_bad_file_is_reported_and_nothing_is_written(source, tmp_path):
    for patient in ("patient004", "patient009"):
        path = source / patient / f"{patient}_frame01.nii.gz"
        path.unlink()
        path.write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"2 problem\(s\)\n.*patient00.*cannot be read") as caught:
        prepare(source, tmp_path / "out")
    assert "patient004" in str(caught.value)
    assert "patient009" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("options", [{"weak": "scribble"}, {"weak": "random", "classes": "lv"}])
def test_bad_labels_are_reported_together_before_they_are_changed(source, tmp_path, options):
    kind = "scribble" if options["weak"] == "scribble" else "gt"
    broken, strange = (
        source / patient / f"{patient}_frame01_{kind}.nii.gz" for patient in ("patient004", "patient009")
    )
    values = read(strange)
    for path in (broken, strange):
        path.unlink()
    broken.write_bytes(b"no gzip")
    other = 7 if kind == "scribble" else 4  # which means "not annotated" in scribbles alone
    write(strange, np.where(values == 1, other, values).astype(np.uint8))
    split = split_acdc(PATIENTS, strong=2, fold=0, seed=0, validation=2)
    assert {"patient004", "patient009"} <= set(split["training"])
    with pytest.raises(DataError) as caught:
        prepare(source, tmp_path / "out", **options)
    problems = set(caught.value.problems)
    assert f"{strange}: expected the labels of ACDC, found [{other}]" in problems
    assert any(problem.startswith(f"{broken}: cannot be read") for problem in problems)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_folder_without_patients_is_refused(tmp_path):
    (tmp_path / "patient.txt").touch()
    with pytest.raises(DataError, match=r"expected folders patient001, patient002, …, found none"):
        prepare(tmp_path, tmp_path / "out")


def test_an_output_that_holds_something_is_left_alone(layout, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    with pytest.raises(FileExistsError, match=re.escape(f"{tmp_path / 'out'} exists and is not an empty folder")):
        prepare(layout, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_empty_output_folder_is_filled(layout, tmp_path):
    (tmp_path / "out").mkdir()
    prepare(layout, tmp_path / "out", weak="none")
    assert (tmp_path / "out" / "datalist.json").is_file()


@pytest.mark.parametrize("strong", [0, 9])
def test_a_number_of_strong_patients_that_does_not_fit_is_refused(layout, tmp_path, strong):
    expected = rf"strong must be at least 1 and leave 2 validation patients among 9, got {strong}"
    with pytest.raises(ValueError, match=expected):
        prepare(layout, tmp_path / "out", strong=strong)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_out_of_range_is_refused(layout, tmp_path, fold):
    with pytest.raises(ValueError, match=rf"fold must lie in \[0, 5\) with 12 patients, got {fold}"):
        prepare(layout, tmp_path / "out", fold=fold)


def test_every_fifth_patient_is_tested_on_so_that_folds_hold_every_disease():
    names = [f"patient{number:03d}" for number in range(1, 101)]
    splits = [split_acdc(names[::-1], strong=3, fold=fold, seed=0) for fold in range(5)]
    assert [split["test"] for split in splits] == [names[fold::5] for fold in range(5)]
    for split in splits:
        assert [len(split[s]) for s in ("training", "validation", "strong")] == [70, 10, 3]
        assert set(split["strong"]) < set(split["training"])
        assert sorted(split["training"] + split["validation"] + split["test"]) == names


@pytest.mark.parametrize(("patients", "validation"), [(5, 1), (20, 2), (100, 10)])
def test_a_tenth_of_the_patients_is_for_validation_unless_told(patients, validation):
    names = [f"patient{number:03d}" for number in range(1, patients + 1)]
    split = split_acdc(names, strong=3, fold=0, seed=0)
    assert [len(split[s]) for s in ("training", "validation")] == [patients - patients // 5 - validation, validation]


def test_the_split_depends_on_the_seed_alone_and_more_strong_patients_include_the_fewer():
    names = [f"patient{number:03d}" for number in range(1, 101)]
    first, again, other, more = (
        split_acdc(names, strong=strong, fold=0, seed=seed) for strong, seed in [(3, 0), (3, 0), (3, 1), (10, 0)]
    )
    assert first == again
    assert first["strong"] != other["strong"]
    assert first["validation"] != other["validation"]
    assert first["test"] == other["test"]
    assert set(first["strong"]) < set(more["strong"])
    assert first["training"] == more["training"]


@pytest.mark.skipif("MEDKD_SHARED" not in os.environ, reason="MEDKD_SHARED is not set: no real data here")
def test_real_patients_are_prepared(tmp_path):
    shared = Path(os.environ["MEDKD_SHARED"]) / "data" / "acdc"
    (tmp_path / "source").mkdir()
    for folder in sorted(shared.glob("patient*"))[:12]:
        (tmp_path / "source" / folder.name).symlink_to(folder)
    counts = prepare(tmp_path / "source", tmp_path / "out")
    assert [counts[section]["patients"] for section in ("training", "validation", "test")] == [7, 2, 3]
    assert counts["training"] == {"images": 14, "patients": 7, "strong": 4}
    for item in load_datalist(tmp_path / "out", "training")[:4]:
        truth, weak = read(item["label"]), read(item["weak_label"])
        annotated = weak != 255
        assert set(np.unique(weak)) <= {0, 1, 2, 3, 255}
        assert 0 < annotated.mean() < 0.1
        assert (weak[annotated] == truth[annotated]).mean() > 0.9


def test_without_validation_patients_the_datalist_can_be_trained_on(source, tmp_path):
    counts = prepare(source, tmp_path / "out", validation=0)
    assert counts["validation"]["patients"] == 0
    assert load_datalist(tmp_path / "out", "validation") == []
    assert len(load_datalist(tmp_path / "out", "training")) == counts["training"]["images"]
