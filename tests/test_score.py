"""A folder of predictions is scored by the field's protocol, or refused with all its problems."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medkd.cli import main
from medkd.datasets import DataError
from medkd.score import score_folders

REFERENCE = Path(__file__).parent / "reference" / "polyp_metrics.npz"
KEYS = ["meanDic", "meanIoU", "maxDic", "maxIoU", "wFm", "Sm", "meanEm", "maxEm", "mae", "dice", "iou"]


@pytest.fixture
def folders(tmp_path):
    """The recorded predictions and masks as files."""
    with np.load(REFERENCE) as recorded:
        for name, key in (("predictions", "pred"), ("masks", "gt")):
            (tmp_path / name).mkdir()
            for number, values in enumerate(recorded[key]):
                Image.fromarray(values).save(tmp_path / name / f"{number}.png")
    return tmp_path / "predictions", tmp_path / "masks"


def test_the_command_writes_the_keys_of_the_protocol(folders, tmp_path, capsys):
    assert main(["score", *map(str, folders), "--json", str(tmp_path / "s.json")]) == 0
    scores = json.loads((tmp_path / "s.json").read_text())
    assert sorted(scores) == sorted(KEYS)
    with np.load(REFERENCE) as recorded:
        for name in ("meanDic", "meanIoU", "wFm", "mae"):
            assert scores[name] == pytest.approx(float(recorded[name]), abs=1e-3)
    assert f"meanDic {scores['meanDic']:.4f}" in capsys.readouterr().out


def test_masks_of_inference_score_as_those_of_black_and_white(folders):
    predictions, masks = folders
    for path in predictions.iterdir():
        mask = (np.asarray(Image.open(path)) >= 128).astype(np.uint8)
        path.unlink()
        Image.fromarray(mask).save(path.with_name(f"{path.stem}_seg.png"))
    ones = score_folders(predictions, masks)
    for path in predictions.iterdir():
        Image.fromarray(np.asarray(Image.open(path)) * np.uint8(255)).save(path)
    assert score_folders(predictions, masks) == ones
    assert ones["dice"] == pytest.approx(ones["meanDic"], abs=0.01)


def test_masks_are_told_from_maps(folders, caplog):
    predictions, masks = folders
    score_folders(predictions, masks)
    assert not caplog.text
    for path in masks.iterdir():
        shutil.copy(path, predictions / path.name)
    score_folders(predictions, masks)
    assert "predictions holds masks; the field scores maps, which `--maps true` of inference.yaml writes" in caplog.text


def test_maps_and_masks_of_inference_in_one_folder_are_refused(folders):
    predictions, masks = folders
    for path in list(predictions.iterdir()):
        path.rename(path.with_name(f"{path.stem}_map.png"))
    score_folders(predictions, masks)
    shutil.copy(predictions / "0_map.png", predictions / "0_seg.png")
    with pytest.raises(DataError, match=r"0_map\.png: expected one prediction of it, found 0_seg too"):
        score_folders(predictions, masks)


def test_a_prediction_of_another_size_is_resized(folders, tmp_path):
    predictions, masks = folders
    expected = score_folders(predictions, masks)["dice"]
    for path in predictions.iterdir():
        image = Image.open(path)
        image.resize((image.width * 2, image.height * 2), Image.Resampling.BILINEAR).save(path)
    assert score_folders(predictions, masks)["dice"] == pytest.approx(expected, abs=0.02)


def test_the_mask_s_own_foreground_scores_one(folders):
    _, masks = folders
    scores = score_folders(masks, masks)
    assert scores["dice"] == scores["iou"] == 1
    assert scores["mae"] == 0


def test_all_problems_come_at_once(folders):
    predictions, masks = folders
    (predictions / "0.png").rename(predictions / "other.png")
    (predictions / "1.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError) as caught:
        score_folders(predictions, masks)
    problems = "\n".join(caught.value.problems)
    for expected in (
        "masks/0.png: expected a prediction 0.* in",
        "other.png: expected a mask other.* in",
        "1.png: cannot",
    ):
        assert expected in problems
    assert len(caught.value.problems) == 3


def test_empty_and_missing_folders_are_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["score", str(tmp_path / "empty"), str(tmp_path / "none")]) == 1
    error = capsys.readouterr().err
    assert "none: expected a folder of images, found nothing there" in error
    assert "empty: expected image files, found none" in error


def test_every_mask_is_read_by_itself_and_two_predictions_of_one_are_refused(folders):
    predictions, masks = folders
    expected = score_folders(predictions, masks)
    path = masks / "0.png"
    Image.fromarray((np.asarray(Image.open(path)) >= 128).astype(np.uint8)).save(path)  # 0 and 1 among 0 and 255
    assert score_folders(predictions, masks) == expected
    shutil.copy(predictions / "0.png", predictions / "0_seg.png")
    with pytest.raises(DataError, match=r"0\.png: expected one prediction of it, found 0_seg too"):
        score_folders(predictions, masks)
    Image.fromarray(np.full((4, 4), 76, np.uint8)).save(path)
    with pytest.raises(DataError, match=r"0\.png: cannot be read \(expected a mask of 0 and 1 or of 0 and 255"):
        score_folders(predictions, masks)
