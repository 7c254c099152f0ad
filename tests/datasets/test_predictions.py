"""Predictions that another tool wrote are found by their images' names."""

from pathlib import Path

import pytest
from PIL import Image

from medkd.datasets import DataError, with_predictions


def _files(folder: Path, *names: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return [str(folder / name) for name in names]


def test_names_with_and_without_what_tools_put_behind_them(tmp_path: Path) -> None:
    images = _files(tmp_path / "images", "a.nii.gz", "b.v2.nii", "c.png", "d.nii.gz", "e.jpg")
    series = tmp_path / "images" / "1.2.840.1"
    series.mkdir()
    wanted = _files(tmp_path / "out", "a.nii.gz", "b.v2.npz", "c_map.png", "d_seg.nii.gz", "e.png", "1.2.840.1.nii.gz")
    found = with_predictions([{"image": path} for path in [*images, str(series)]], tmp_path / "out")
    assert [item["teacher"] for item in found] == wanted


def test_what_lacks_and_what_two_images_share_is_told_at_once(tmp_path: Path) -> None:
    images = [*_files(tmp_path / "one", "a.png", "b.png"), *_files(tmp_path / "two", "a.png")]
    _files(tmp_path / "out", "a.png")
    with pytest.raises(DataError, match="2 problem") as caught:
        with_predictions([{"image": path} for path in images], tmp_path / "out")
    assert caught.value.problems[0].startswith("a: expected images of different names, found 2")
    assert caught.value.problems[1].endswith("b.png: expected a prediction of it, found none")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (image,) = _files(tmp_path / "images", "a.nii.gz")
    _files(tmp_path / "out", "a.nii.gz", "a.png")
    with pytest.raises(DataError, match="a: expected one file, found 2"):
        with_predictions([{"image": image}], tmp_path / "out")


def test_the_folder_of_nnunet_is_taken_as_it_is(tmp_path: Path) -> None:
    """It writes classes beside the probabilities, and knows the image's channels by number."""
    images = _files(tmp_path / "images", "heart_1_0000.nii.gz", "heart_2.nii.gz")
    others = ("heart_1.nii.gz", "heart_1.pkl", "heart_2.nii.gz", "dataset.json", "plans.json")
    _files(tmp_path / "out", *others)
    wanted = _files(tmp_path / "out", "heart_1.npz", "heart_2.npz")
    found = with_predictions([{"image": path} for path in images], tmp_path / "out")
    assert [item["teacher"] for item in found] == wanted


def test_a_picture_that_is_stored_turned_has_no_known_side_up(tmp_path: Path) -> None:
    """Half a turn has the same shape: another tool may have looked at it either way, and nothing tells."""
    images = _files(tmp_path / "images", "a.jpg", "b.jpg")
    for path, orientation in zip(images, (3, 1), strict=True):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new("RGB", (40, 30)).save(path, exif=exif)
    _files(tmp_path / "out", "a.png", "b.png")
    with pytest.raises(DataError, match="1 problem") as caught:
        with_predictions([{"image": path} for path in images], tmp_path / "out")
    assert "a.jpg: expected an upright picture" in caught.value.problems[0]


def test_no_folder_is_no_teacher_and_one_that_is_not_there_an_error(tmp_path: Path) -> None:
    assert with_predictions([{"image": "a.png"}], None) == [{"image": "a.png"}]
    with pytest.raises(FileNotFoundError, match="medkd teach"):
        with_predictions([{"image": "a.png"}], tmp_path / "none")


def test_images_are_no_predictions_of_themselves(tmp_path: Path) -> None:
    images = _files(tmp_path / "images", "a.png", "b.nii.gz")
    with pytest.raises(DataError, match="2 problem") as caught:
        with_predictions([{"image": path} for path in images], tmp_path / "images")
    assert caught.value.problems[0].endswith("a.png: expected a prediction, found the image itself")
