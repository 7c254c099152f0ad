"""The command ``medkd``."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread

import medkd
from medkd.cli import _parser, main
from medkd.ladder import load_ladder, overridden

TINY = ["--strong", "1", "--weak", "1", "--validation", "1", "--test", "1", "--size", "48", "--slices", "2"]


@pytest.fixture
def phantoms(tmp_path):
    assert main(["data", "phantoms", "cardiac", str(tmp_path / "data"), *TINY]) == 0
    return tmp_path / "data"


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"medkd {medkd.__version__}\n"


def test_the_module_is_a_program():
    done = subprocess.run([sys.executable, "-m", "medkd.cli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"medkd {medkd.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["data"], ["data", "acdc"], ["ladder", "bundle"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        main(arguments)
    assert "usage: medkd" in capsys.readouterr().err


def test_phantoms_are_made_counted_and_checked(tmp_path, capsys):
    phantoms = tmp_path / "data"
    assert main(["data", "phantoms", "cardiac", str(phantoms), *TINY]) == 0
    made = capsys.readouterr().out
    assert made.splitlines()[1].split() == ["training", "2", "2", "1"]
    assert f"Datalist: {phantoms / 'datalist.json'}" in made
    assert len(list((phantoms / "images").iterdir())) == 4
    assert main(["data", "check", str(phantoms)]) == 0
    checked = capsys.readouterr().out
    assert "No problem found." in checked
    assert [line.split()[:3] for line in checked.splitlines()[1:4]] == [
        ["training", "2", "2"],
        ["validation", "1", "1"],
        ["test", "1", "1"],
    ]


def assert_fails(capsys, arguments, *messages):
    assert main(arguments) == 1
    found = re.search(r"Details: (.+)\nmedkd: error: ([\s\S]*)", capsys.readouterr().err)
    assert "Traceback" in Path(found[1]).read_text()
    Path(found[1]).unlink()
    error = found[2]
    assert "Traceback" not in error
    for message in messages:
        assert message in error


def test_a_filled_output_is_an_error_without_a_traceback(phantoms, capsys):
    assert_fails(capsys, ["data", "phantoms", "cardiac", str(phantoms), *TINY], "exists and is not an empty folder")


def test_a_missing_datalist_is_an_error_that_names_it(tmp_path, capsys):
    assert_fails(capsys, ["data", "check", str(tmp_path / "none")], str(tmp_path / "none"))


def test_the_values_that_mean_unannotated_reach_the_check(phantoms, capsys):
    for values in ("4", "[4]", "[4, 9]"):
        assert_fails(capsys, ["data", "check", str(phantoms), "--unannotated_values", values], "255")
    assert main(["data", "check", str(phantoms), "--unannotated_values", "[255]"]) == 0


@pytest.mark.parametrize("values", ["[4", "four", "[true]", "{4: 5}"])
def test_what_is_no_list_of_label_values_is_refused(phantoms, capsys, values):
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["data", "check", str(phantoms), "--unannotated_values", values])
    assert f"expected label values, 4 or [4, 9], found {values!r}" in capsys.readouterr().err


def test_a_missing_acdc_is_an_error_that_names_it(tmp_path, capsys):
    assert_fails(capsys, ["data", "acdc", str(tmp_path / "none"), str(tmp_path / "out")], str(tmp_path / "none"))
    assert not (tmp_path / "out").exists()


@pytest.fixture
def bundle(tmp_path):
    configs = tmp_path / "bundle" / "configs"
    configs.mkdir(parents=True)
    (configs / "train.yaml").write_text("max_epochs: 3\nseed: 0\n")
    (configs / "ladder.yaml").write_text("rungs: {first: {}, second: {max_epochs: 4}}\n")
    return configs.parent


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["max_epochs"], "--set: expected KEY=VALUE, got 'max_epochs'"),
        (["max_epoch=2"], "--set: unknown key 'max_epoch', did you mean 'max_epochs'?"),
    ],
    ids=["malformed", "unknown"],
)
def test_wrong_overrides_of_a_ladder_are_refused(bundle, tmp_path, capsys, pairs, message):
    arguments = ["ladder", str(bundle), "--dataset_dir", str(tmp_path), "--set", *pairs]
    assert_fails(capsys, arguments, message, str(bundle / "configs" / "train.yaml"))
    assert not (bundle / "ladder").exists()


def test_overrides_are_values_of_yaml_and_numbers_without_a_point_too(bundle):
    _, found = overridden(load_ladder(bundle), ["max_epochs=1e-3", "seed=[1, -1]"])
    assert found == {"max_epochs": 0.001, "seed": [1, -1]}
    assert overridden(load_ladder(bundle), ["seed=weak_label"])[1] == {"seed": "weak_label"}


def test_overrides_add_up_and_those_of_rungs_not_run_are_left_out(bundle):
    options = _parser().parse_args(
        ["ladder", str(bundle), "--dataset_dir", "d", "--set", "seed=1", "--set", "max_epochs=2"]
    )
    ladder, shared = overridden(load_ladder(bundle, ["first"]), [*options.set, "second:max_epochs=9"])
    assert shared == {"seed": 1, "max_epochs": 2}
    assert list(ladder.rungs) == ["first"]


def test_an_override_may_be_of_one_rung(bundle):
    ladder, shared = overridden(load_ladder(bundle), ["max_epochs=2", "second:max_epochs=9"])
    assert shared == {"max_epochs": 2}
    assert "max_epochs" not in ladder.rungs["first"]
    assert ladder.rungs["second"]["max_epochs"] == 9


def test_an_unknown_rung_is_refused(bundle, tmp_path, capsys):
    arguments = ["ladder", str(bundle), "--dataset_dir", str(tmp_path), "--rungs", "third"]
    assert_fails(capsys, arguments, "unknown rung 'third'; there are first, second")


def test_a_mask_is_drawn_over_its_image(phantoms, tmp_path, capsys):
    name, picture = "phantom001.nii.gz", tmp_path / "o.png"
    masks = [str(phantoms / folder / name) for folder in ("labels", "weak_labels")]
    assert main(["overlay", str(phantoms / "images" / name), *masks[:1], "--output", str(picture)]) == 0
    assert f"Overlay: {picture}" in capsys.readouterr().out
    assert imread(picture).shape[:2] == (280, 520)
    assert main(["overlay", str(phantoms / "images" / name), *masks, "--output", str(picture)]) == 0
    assert imread(picture).shape[:2] == (280, 780)  # both, though their files have one name


def test_a_mask_of_another_shape_is_refused(phantoms, tmp_path, capsys):
    nib.save(nib.nifti1.Nifti1Image(np.zeros((5, 6, 7), np.uint8), np.eye(4)), tmp_path / "other.nii.gz")
    image = str(phantoms / "images" / "phantom001.nii.gz")
    arguments = ["overlay", image, str(tmp_path / "other.nii.gz"), "--output", str(tmp_path / "o.png")]
    assert_fails(capsys, arguments, "other.nii.gz: expected a mask of the image's shape (48, 48, 2), found (5, 6, 7)")
    assert not (tmp_path / "o.png").exists()


def test_a_mask_of_another_geometry_is_refused(phantoms, tmp_path, capsys):
    """Of the same shape, and mirrored: drawn voxel over voxel it would lie on the other side of the patient."""
    image, label = (str(phantoms / folder / "phantom001.nii.gz") for folder in ("images", "labels"))
    turned = nib.load(label).as_reoriented(np.array([[0, -1], [1, 1], [2, 1]]))
    nib.save(turned, tmp_path / "turned.nii.gz")
    arguments = ["overlay", image, str(tmp_path / "turned.nii.gz"), "--output", str(tmp_path / "o.png")]
    assert_fails(capsys, arguments, "turned.nii.gz: expected the geometry (affine) of")
    assert not (tmp_path / "o.png").exists()


def test_polyp_phantoms_are_made_checked_and_drawn(tmp_path, capsys):
    data, picture = tmp_path / "data", tmp_path / "o.png"
    sizes = ["--training", "2", "--validation", "1", "--test", "1", "--size", "64"]
    assert main(["data", "phantoms", "polyp", str(data), *sizes]) == 0
    assert main(["data", "check", str(data)]) == 0
    assert "No problem found." in capsys.readouterr().out
    frame, mask = (str(data / folder / "phantom0001.png") for folder in ("images", "masks"))
    assert main(["overlay", frame, mask, "--output", str(picture)]) == 0
    assert imread(picture).shape[:2] == (280, 520)


def test_the_polyp_datalist_is_that_of_its_folder(tmp_path, capsys):
    data, source = tmp_path / "data", tmp_path / "source"
    assert main(["data", "phantoms", "polyp", str(data), "--training", "8", "--size", "64"]) == 0
    for folder in ("TrainDataset", "TestDataset/A"):
        for kind in ("images", "masks"):
            (source / folder / kind).mkdir(parents=True)
            for number in range(1, 9):
                shutil.copy(data / kind / f"phantom000{number}.png", source / folder / kind)
    assert main(["data", "polyp", str(source), str(tmp_path / "out"), "--validation", "0.25"]) == 0
    assert ["validation", "2", "2", "2"] in [line.split() for line in capsys.readouterr().out.splitlines()]
    assert_fails(
        capsys, ["data", "polyp", str(data), str(tmp_path / "other")], "TrainDataset/images: expected a folder"
    )
