"""Pictures of the same few cases after every evaluation."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from matplotlib.image import imread
from monai.data import MetaTensor

from medkd.handlers import Overlays


@pytest.fixture
def pairs(tmp_path):
    """Three cases as an engine has them: the batch's item, and the output's."""
    made = []
    for number in range(3):
        path = tmp_path / f"case{number}.nii.gz"
        values = np.random.default_rng(number).random((20, 16, 3), dtype=np.float32)
        nib.save(nib.nifti1.Nifti1Image(values, np.eye(4)), path)
        maps = torch.zeros(2, 20, 16, 3)
        maps[1, 4:12, 4:12, 1] = 1
        maps[0] = 1 - maps[1]
        source = {"image": MetaTensor(torch.zeros(1, 8, 8, 3), meta={"filename_or_obj": str(path)})}
        made.append((source, {"label": maps, "pred": maps.roll(number, 1)}))
    return made


def run(pairs, folder, *, epochs=1, rank=0, cases=2, keys=None, **more):
    engine = Engine(lambda engine, batch: [output for source, output in pairs if source is batch[0]])
    engine.state.rank = rank
    keys = keys or {"label": "label", "student": "pred", "teacher": "teacher"}
    Overlays(str(folder), keys, cases=cases, **more).attach(engine)
    engine.run([[source] for source, _ in pairs], max_epochs=epochs)


def test_an_evaluation_leaves_the_pictures_of_the_training_alone(pairs, tmp_path):
    run(pairs, tmp_path)
    run(pairs, tmp_path, name="test")
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["epoch_0001.png", "test.png"]


def test_every_epoch_has_its_picture(pairs, tmp_path):
    run(pairs, tmp_path / "out", epochs=2)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["epoch_0001.png", "epoch_0002.png"]
    assert (tmp_path / "out" / "epoch_0001.png").read_bytes() == (tmp_path / "out" / "epoch_0002.png").read_bytes()


def test_a_picture_has_a_row_per_case_and_a_column_per_mask(pairs, tmp_path):
    run(pairs, tmp_path / "two", cases=2)
    run(pairs, tmp_path / "one", cases=1, keys={"label": "label"})
    two, one = (imread(tmp_path / name / "epoch_0001.png") for name in ("two", "one"))
    assert two.shape[:2] == (560, 780)  # two cases; image, label and student: the output has no teacher
    assert one.shape[:2] == (280, 520)


def test_the_masks_are_drawn_in_colour(pairs, tmp_path):
    run(pairs, tmp_path / "out", cases=1)
    picture = imread(tmp_path / "out" / "epoch_0001.png")[..., :3]
    colourful = np.ptp(picture, axis=-1) > 0.1
    assert not colourful[:, :255].any()  # the image itself is grey
    assert colourful[:, 265:].mean() > 0.05


def test_a_probability_is_cut_at_the_threshold_of_its_epoch(pairs, tmp_path):
    """The threshold is calibrated in the epoch, after the map was seen."""
    for (_, output), level in zip(pairs, (0.2, 0.4, 0.6), strict=True):
        output["pred"] = level * output["pred"][1:]
    pictures = []
    for threshold in (0.3, 0.5, None):
        engine = Engine(lambda engine, batch: [output for source, output in pairs if source is batch[0]])
        Overlays(str(tmp_path), {"student": "pred"}, cases=3).attach(engine)
        engine.state.metrics = {}
        if threshold:
            engine.add_event_handler(
                Events.ITERATION_COMPLETED, lambda e, t=threshold: e.state.metrics.update(threshold=t)
            )
        engine.run([[source] for source, _ in pairs])
        picture = imread(tmp_path / "epoch_0001.png")[..., :3]
        rows = np.array_split(np.ptp(picture, axis=-1) > 0.1, 3)
        pictures.append([bool(row.any()) for row in rows])
    assert pictures == [[False, True, True], [False, False, True], [False, False, True]]


def test_only_the_first_process_draws(pairs, tmp_path):
    run(pairs, tmp_path / "out", rank=1)
    assert not (tmp_path / "out").exists()


def test_empty_axes_of_a_file_do_not_matter(pairs, tmp_path):
    source, _ = pairs[0]
    run(pairs[:1], tmp_path / "as it is")
    path = source["image"].meta["filename_or_obj"]
    values = np.asarray(nib.load(path).dataobj)
    nib.save(nib.nifti1.Nifti1Image(values[..., None], np.eye(4)), path)
    run(pairs[:1], tmp_path / "with an empty axis")
    first, second = (imread(tmp_path / name / "epoch_0001.png") for name in ("as it is", "with an empty axis"))
    assert np.array_equal(first, second)


def test_titles_without_the_names_of_files(pairs, tmp_path):
    run(pairs, tmp_path / "names")
    run(pairs, tmp_path / "numbers", anonymous=True)
    for source, _ in pairs:
        path = Path(source["image"].meta["filename_or_obj"])
        source["image"].meta["filename_or_obj"] = str(path.rename(path.with_name(f"Doe^Jane_{path.name}")))
    run(pairs, tmp_path / "other names")
    run(pairs, tmp_path / "other names, numbers", anonymous=True)
    names, numbers, other, same = (
        (tmp_path / f / "epoch_0001.png").read_bytes()
        for f in ("names", "numbers", "other names", "other names, numbers")
    )
    assert (names != other, numbers == same, numbers != names) == (True, True, True)


def test_the_worst_cases_of_an_evaluation_are_shown_the_worst_first(pairs, tmp_path, monkeypatch):
    """The three predictions are rolled by 0, 1 and 2 of 8 columns: Dice 1, 7/8 and 6/8."""
    shown = []
    monkeypatch.setattr("medkd.handlers.overlays.save_overlay", lambda path, rows: shown.extend(rows))
    run(pairs, tmp_path, worst=True, name="test", keys={"label": "label", "student": "pred"})
    assert shown == ["3: case2, Dice 0.75", "2: case1, Dice 0.88"]
    shown.clear()
    for source, output in pairs:  # probabilities, with the truth in the batch
        source["mask"] = output.pop("label")[1:]
        output["pred"] = 0.3 * output["pred"][1:] + 0.05
    pairs[0][0]["mask"] = torch.zeros_like(pairs[0][0]["mask"])  # nothing there, and nothing found: not a bad case
    pairs[0][1]["pred"] = torch.full_like(pairs[0][1]["pred"], 0.1)
    run(pairs, tmp_path, worst=True, threshold=0.2, anonymous=True, keys={"label": "mask", "student": "pred"})
    assert shown == ["case 3, Dice 0.75", "case 2, Dice 0.88"]
