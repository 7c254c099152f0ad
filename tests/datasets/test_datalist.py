"""A datalist is read, checked and refused with all its problems at once."""

import json
import re

import nibabel as nib
import numpy as np
import pytest

from medkd.datasets import DataError, check_datalist, load_datalist, write_datalist


def write_volume(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)


@pytest.fixture
def dataset(tmp_path):
    """A folder with one volume a section (two to train on), as (folder, datalist)."""
    rng, folder, datalist = np.random.default_rng(0), tmp_path / "dataset", {"name": "tiny", "seed": 3}
    for number, section in enumerate(["training", "training", "validation", "test"]):
        item = {"image": f"images/{number}.nii.gz", "label": f"labels/{number}.nii.gz", "patient": f"p{number}"}
        write_volume(folder / item["image"], rng.random((4, 5, 3), dtype=np.float32))
        write_volume(folder / item["label"], rng.integers(0, 2, (4, 5, 3)).astype(np.uint8))
        datalist.setdefault(section, []).append(item)
    datalist["training"][1] |= {"supervision": "weak", "weak_label": "weak/1.nii.gz"}
    write_volume(folder / "weak/1.nii.gz", np.where(np.arange(60).reshape(4, 5, 3) % 7, 255, 1).astype(np.uint8))
    write_datalist(folder / "datalist.json", datalist)
    return folder, datalist


def problems_of(call, *arguments, **options):
    with pytest.raises(DataError) as caught:
        call(*arguments, **options)
    assert str(caught.value).count("\n  - ") == len(caught.value.problems)
    return caught.value.problems


def test_paths_become_absolute_and_the_rest_is_kept(dataset):
    folder, given = dataset
    found = load_datalist(folder)
    assert {key: found[key] for key in ("name", "seed")} == {"name": "tiny", "seed": 3}
    assert [len(found[section]) for section in ("training", "validation", "test")] == [2, 1, 1]
    weak = found["training"][1]
    assert weak["weak_label"] == str((folder / "weak/1.nii.gz").resolve())
    assert weak["supervision"] == "weak"
    assert given["training"][0]["image"] == "images/0.nii.gz"


def test_a_section_may_be_asked_for_by_folder_or_by_file(dataset):
    folder, _ = dataset
    whole = load_datalist(folder)
    assert load_datalist(folder / "datalist.json", "test") == whole["test"]
    (folder / "datalist.json").rename(folder / "other.json")
    assert load_datalist(str(folder), "training", name="other.json") == whole["training"]


def test_absolute_paths_are_kept(dataset, tmp_path):
    image = str((dataset[0] / "images/3.nii.gz").resolve())
    write_datalist(tmp_path / "elsewhere" / "datalist.json", {"test": [{"image": image, "label": image}]})
    assert load_datalist(tmp_path / "elsewhere", "test") == [{"image": image, "label": image}]


@pytest.mark.parametrize("call", [load_datalist, check_datalist])
def test_without_a_datalist_the_command_that_makes_one_is_named(tmp_path, call):
    expected = f"{tmp_path / 'datalist.json'}: no datalist there; --dataset_dir expects the output of `medkd data …`"
    with pytest.raises(FileNotFoundError, match=re.escape(expected)):
        call(tmp_path)


@pytest.mark.parametrize("key", ["image", "label", "weak_label"])
def test_a_missing_file_is_named(dataset, key):
    folder, datalist = dataset
    path = folder / datalist["training"][1][key]
    path.unlink()
    assert problems_of(load_datalist, folder) == [f"{path.resolve()}: expected a file, found nothing there"]


def test_a_patient_in_two_sections_is_named(dataset):
    folder, datalist = dataset
    datalist["test"][0]["patient"] = "p0"
    write_datalist(folder / "datalist.json", datalist)
    assert problems_of(load_datalist, folder) == ["patient p0: expected in one section, found in test and training"]


def test_a_patient_may_have_several_images_in_one_section(dataset):
    folder, datalist = dataset
    datalist["training"][1]["patient"] = "p0"
    write_datalist(folder / "datalist.json", datalist)
    assert check_datalist(folder)["training"] == {"images": 2, "patients": 1, "strong": 1}


def test_images_of_one_file_name_are_not_one_patient_s(tmp_path):
    """Scores, units and intervals go by patients, and without one by file names."""
    images = ["b/1/image.nii.gz", "b/2/image.nii.gz", "other.nii.gz"]
    for name in [*images, "label.nii.gz"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    items = [{"image": name, "label": "label.nii.gz"} for name in images]
    write_datalist(tmp_path / "datalist.json", {"training": [], "test": items})
    found = [item.get("patient") for item in load_datalist(tmp_path, "test")]
    assert found == ["1/image.nii.gz", "2/image.nii.gz", None]


def test_without_patients_an_image_in_two_sections_is_named(dataset):
    folder, datalist = dataset
    for section in ("training", "validation", "test"):
        for item in datalist[section]:
            del item["patient"]
    datalist["validation"] = datalist["test"]
    write_datalist(folder / "datalist.json", datalist)
    image = (folder / "images/3.nii.gz").resolve()
    assert problems_of(load_datalist, folder) == [
        f"image {image}: expected in one section, found in test and validation"
    ]


@pytest.mark.parametrize("change", ["absent", "empty", "unknown"])
def test_a_section_without_items_is_refused_when_asked_for(dataset, change):
    folder, datalist = dataset
    section = "trainign" if change == "unknown" else "test"
    if change == "absent":
        del datalist["test"]
    elif change == "empty":
        datalist["test"] = []
    write_datalist(folder / "datalist.json", datalist)
    assert problems_of(load_datalist, folder, section) == [f'"{section}": expected items in this section, found none']
    assert len(load_datalist(folder, "training")) == 2


@pytest.mark.parametrize("change", ["absent", "empty"])
def test_one_can_train_without_validation(dataset, change):
    folder, datalist = dataset
    del datalist["validation"]
    write_datalist(folder / "datalist.json", datalist if change == "absent" else {**datalist, "validation": []})
    assert load_datalist(folder, "validation") == []


def test_a_good_dataset_is_counted(dataset):
    folder, _ = dataset
    assert check_datalist(folder) == {
        "training": {"images": 2, "patients": 2, "strong": 1},
        "validation": {"images": 1, "patients": 1, "strong": 1},
        "test": {"images": 1, "patients": 1, "strong": 1},
    }


def test_progress_is_shown_when_asked_for(dataset, capsys):
    check_datalist(dataset[0])
    assert capsys.readouterr().err == ""
    check_datalist(dataset[0], progress=True)
    assert "checking: 100%" in capsys.readouterr().err


def test_no_strong_image_is_refused(dataset):
    folder, datalist = dataset
    datalist["training"][0]["supervision"] = "none"
    write_datalist(folder / "datalist.json", datalist)
    assert problems_of(check_datalist, folder) == [
        '"training": expected at least one strong (fully annotated) image, found none'
    ]


def test_a_truncated_file_is_named(dataset):
    folder, _ = dataset
    path = folder / "images/0.nii.gz"
    path.write_bytes(path.read_bytes()[:100])
    (problem,) = problems_of(check_datalist, folder)
    assert problem.startswith(f"{path.resolve()}: cannot be read (")
    assert "\n" not in problem


def test_an_empty_folder_in_place_of_a_file_is_named(dataset):
    folder, _ = dataset
    path = folder / "labels/2.nii.gz"
    path.unlink()
    path.mkdir()
    expected = f"{path.resolve()}: expected a folder with one DICOM series, found no DICOM file"
    assert problems_of(check_datalist, folder) == [expected]


def test_the_classes_are_those_the_datalist_names(dataset):
    folder, datalist = dataset
    write_volume(folder / "labels/0.nii.gz", np.full((4, 5, 3), 2, dtype=np.uint8))
    (problem,) = problems_of(check_datalist, folder)
    assert problem.endswith("0.nii.gz: expected the labels [0, 1] or [255] (ignored), found 2")
    write_datalist(folder / "datalist.json", datalist | {"labels": {"0": "background", "2": "organ", "1": "tumour"}})
    assert check_datalist(folder)["training"]["images"] == 2


def test_other_values_may_mean_not_annotated(dataset):
    folder, _ = dataset
    write_volume(folder / "weak/1.nii.gz", np.where(np.arange(60).reshape(4, 5, 3) % 7, 4, 1).astype(np.uint8))
    (problem,) = problems_of(check_datalist, folder)
    assert problem.endswith("1.nii.gz: expected the labels [0, 1] or [255] (ignored), found 4")
    assert check_datalist(folder, unannotated_values=[4])["training"]["images"] == 2


def test_problems_of_several_files_come_at_once(dataset):
    folder, datalist = dataset
    (folder / "images/0.nii.gz").write_bytes(b"no gzip")
    write_volume(folder / "images/1.nii.gz", np.zeros((4, 5, 3), dtype=np.float32))
    write_volume(folder / "labels/2.nii.gz", np.zeros((4, 5, 2), dtype=np.uint8))
    write_volume(folder / "labels/3.nii.gz", np.full((4, 5, 3), 9, dtype=np.uint8))
    datalist["training"][0]["supervision"] = "weak"
    write_datalist(folder / "datalist.json", datalist)
    problems = problems_of(check_datalist, folder)
    assert len(problems) == 5
    for problem, (path, reason) in zip(
        problems,
        [
            ("images/0", "cannot be read"),
            ("images/1", "found the constant 0"),
            ("labels/2", "expected the shape of its image 4 × 5 × 3, found 4 × 5 × 2"),
            ("labels/3", "found 9"),
            ('"training"', "at least one strong"),
        ],
        strict=True,
    ):
        assert path in problem
        assert reason in problem


def test_a_failed_write_keeps_the_old_datalist_and_leaves_nothing_else(dataset):
    folder, _ = dataset
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_datalist(folder / "datalist.json", {"training": [{"image": folder}]})
    assert sorted(path.name for path in folder.iterdir()) == before
    assert json.loads((folder / "datalist.json").read_text())["name"] == "tiny"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{half", "expected JSON, found something else (Expecting property name"),
        ("[1, 2]", "expected sections training, validation, test, found a list"),
        ('{"training": ["a.nii"]}', "training[0]: expected a mapping with \"image\", found 'a.nii'"),
        ('{"test": [{"label": "b"}]}', "test[0]: expected a mapping with \"image\", found {'label': 'b'}"),
        (
            '{"training": [{"image": "a", "supervision": "some"}]}',
            'training[0]: expected the supervision "strong", "weak" or "none", found \'some\'',
        ),
        (
            '{"training": [{"image": "a", "supervision": "strong"}]}',
            'training[0]: expected a "label" of a, found none',
        ),
        ('{"validation": [{"image": "a"}]}', 'validation[0]: expected a "label" of a, found none'),
        ('{"training": [{"image": "a", "label": null}]}', 'training[0]: expected a path as "label", found None'),
        ('{"validation": null}', '"validation": expected a list of items, found None'),
        (
            '{"labels": {"background": 0}}',
            """"labels": expected names by class number ({"0": "background", …}), found {'background': 0}""",
        ),
    ],
)
def test_a_datalist_of_another_form_is_refused_with_what_it_has(tmp_path, content, problem):
    (tmp_path / "datalist.json").write_text(content)
    (found,) = problems_of(load_datalist, tmp_path)
    assert found.startswith(problem)


@pytest.mark.parametrize(("given", "strong"), [("dense", 2), ("sparse", 1), ("none", 1)])
def test_an_item_that_does_not_say_is_strong_if_its_label_is_dense(dataset, given, strong):
    folder, datalist = dataset
    item = datalist["training"][1]
    del item["supervision"], item["weak_label"]
    if given == "sparse":
        item["label"] = "weak/1.nii.gz"
    elif given == "none":
        del item["label"]
    write_datalist(folder / "datalist.json", datalist)
    assert check_datalist(folder)["training"]["strong"] == strong


def test_an_image_in_two_sections_is_named_though_one_item_alone_names_its_patient(dataset):
    folder, datalist = dataset
    datalist["test"] = [{key: datalist["training"][0][key] for key in ("image", "label")}]
    write_datalist(folder / "datalist.json", datalist)
    (problem,) = problems_of(load_datalist, folder)
    assert (
        problem
        == f"image {(folder / 'images/0.nii.gz').resolve()}: expected in one section, found in test and training"
    )


@pytest.mark.parametrize("section", ["validation", "test"])
def test_what_is_scored_must_have_a_full_label(dataset, section):
    folder, datalist = dataset
    datalist[section][0]["label"] = "weak/1.nii.gz"
    write_datalist(folder / "datalist.json", datalist)
    (problem,) = problems_of(check_datalist, folder)
    assert problem.endswith(f'1.nii.gz: expected a full label in "{section}", found pixels that are not annotated')


def test_a_label_with_channels_is_refused(dataset):
    folder, _ = dataset
    write_volume(folder / "labels/2.nii.gz", np.zeros((4, 5, 3, 2), dtype=np.uint8))
    (problem,) = problems_of(check_datalist, folder)
    assert problem.endswith("2.nii.gz: expected one label per pixel, found 2 channels")


def test_the_classes_of_the_configuration_must_be_the_datas(dataset):
    folder, datalist = dataset
    assert load_datalist(folder, "test", class_names=["anything"])  # the datalist does not say
    write_datalist(folder / "datalist.json", datalist | {"labels": {"0": "background", "1": "tumour"}})
    assert load_datalist(folder, "test", class_names=["tumour"])
    expected = (
        """"labels": expected the classes ['liver', 'tumour'] of the configuration, found ['tumour']; set class_names"""
    )
    assert problems_of(load_datalist, folder, class_names=["liver", "tumour"]) == [expected]
