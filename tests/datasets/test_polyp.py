"""The PraNet layout becomes a checked datalist, or nothing at all."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medkd.datasets import DataError, check_datalist, load_datalist
from medkd.datasets.polyp import prepare_polyp


def frame(path, mode="RGB", size=(20, 16), seed=0, **options):
    values = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(values).convert(mode).save(path, **options)


def mask(path, size=(20, 16), value=255):
    values = np.zeros((size[1], size[0]), np.uint8)
    values[4:9, 5:12] = value
    Image.fromarray(values).save(path)


@pytest.fixture
def source(tmp_path):
    """20 training frames and two test sets of one name each."""
    for folder, names in (
        ("TrainDataset", [str(n) for n in range(20)]),
        ("TestDataset/A", ["1", "x"]),
        ("TestDataset/B", ["1"]),
    ):
        for kind in ("images", "masks"):
            (tmp_path / "source" / folder / kind).mkdir(parents=True)
        for number, name in enumerate(names):
            frame(tmp_path / "source" / folder / "images" / f"{name}.{['jpg', 'png', 'tif'][number % 3]}", seed=number)
            mask(tmp_path / "source" / folder / "masks" / f"{name}.png")
    return tmp_path / "source"


def problems_of(source, tmp_path, **options):
    with pytest.raises(DataError) as caught:
        prepare_polyp(source, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    return caught.value.problems


def test_pairs_are_made_by_stem_and_test_sets_kept_apart(source, tmp_path):
    counts = prepare_polyp(source, tmp_path / "out", validation=0.2)
    assert [counts[s]["images"] for s in ("training", "validation", "test")] == [16, 4, 3]
    datalist = load_datalist(tmp_path / "out", class_names=["polyp"])
    assert [item["dataset"] for item in datalist["test"]] == ["A", "A", "B"]
    for section in ("training", "validation", "test"):
        for item in datalist[section]:
            stems = [item[key].rsplit("/", 1)[1].split(".")[0] for key in ("image", "label")]
            assert stems[0] == stems[1]


def test_frames_of_a_sequence_never_straddle_the_split(source, tmp_path):
    table = tmp_path / "sequences.csv"
    pd.DataFrame({"frame": range(16), "sequence": [n // 4 for n in range(16)]}).to_csv(table, index=False)
    for seed in range(5):
        out = tmp_path / f"out{seed}"
        prepare_polyp(source, out, validation=0.3, seed=seed, sequences=table)
        datalist = load_datalist(out)
        groups = [{item["patient"] for item in datalist[s]} for s in ("training", "validation")]
        assert groups[0].isdisjoint(groups[1])
        assert len(groups[0] | groups[1]) == 8  # four sequences, and four frames that stand alone
        assert datalist["patients"] == "sequences (or single images)"


def test_a_table_of_another_form_is_refused(source, tmp_path):
    (tmp_path / "t.csv").write_text("image,sequence\n1,2\n")
    (problem,) = problems_of(source, tmp_path, sequences=tmp_path / "t.csv")
    assert problem.endswith("t.csv: expected the columns frame and sequence, found image, sequence")
    (tmp_path / "t.csv").write_text("frame,sequence\n1,2\n1,3\n")
    (problem,) = problems_of(source, tmp_path, sequences=tmp_path / "t.csv")
    assert problem.endswith("t.csv: expected frame 1 once, found it again")


def test_all_problems_come_at_once_and_nothing_is_written(source, tmp_path):
    train, test = source / "TrainDataset", source / "TestDataset" / "A"
    (train / "masks" / "3.png").unlink()
    (train / "images" / "4.png").unlink()
    mask(train / "masks" / "5.png", size=(16, 20))
    jpeg = train / "images" / "6.jpg"
    jpeg.write_bytes(jpeg.read_bytes()[:200])
    mask(train / "masks" / "7.png", value=40)
    frame(test / "images" / "x.bmp")
    problems = problems_of(source, tmp_path)
    for expected in (
        "3.jpg: expected a mask 3.* in",
        "4.png: expected an image 4.* in",
        "5.png: expected the size of its image (20, 16), found (16, 20)",
        "6.jpg: cannot be read",
        "7.png: cannot be read (expected a mask of 0 and 1 or of 0 and 255, found values up to 40)",
        "x.png: expected one file of this stem, found x.bmp too",
    ):
        assert sum(expected in problem for problem in problems) == 1, (expected, problems)
    assert len(problems) == 6


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "I;16"])
def test_images_of_other_kinds_are_taken(source, tmp_path, mode):
    path = source / "TrainDataset" / "images" / "1.png"
    if mode == "I;16":
        Image.fromarray(np.arange(320, dtype=np.uint16).reshape(16, 20) * 200).save(path)
    else:
        frame(path, mode=mode)
    assert prepare_polyp(source, tmp_path / "out")["test"]["images"] == 3


def test_a_rotated_photograph_has_the_size_of_what_is_seen(source, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter
    frame(source / "TrainDataset" / "images" / "0.jpg", size=(16, 20), exif=exif)
    assert prepare_polyp(source, tmp_path / "out")["test"]["images"] == 3


def test_an_empty_mask_is_a_frame_without_a_polyp(source, tmp_path):
    mask(source / "TrainDataset" / "masks" / "0.png", value=0)
    assert prepare_polyp(source, tmp_path / "out")["test"]["images"] == 3


def test_a_folder_of_another_layout_is_refused(tmp_path):
    problems = problems_of(tmp_path, tmp_path)
    assert problems == [
        f"{tmp_path / 'TrainDataset' / kind}: expected a folder of images, found nothing there"
        for kind in ("images", "masks")
    ]


@pytest.mark.parametrize("share", [0, 1])
def test_a_share_that_leaves_nothing_is_refused(source, tmp_path, share):
    with pytest.raises(ValueError, match=r"expected shares in \(0, 1\), got \{'validation': "):
        prepare_polyp(source, tmp_path / "out", validation=share)
    assert not (tmp_path / "out").exists()


def test_masks_of_zeros_and_ones_are_taken(source, tmp_path):
    mask(source / "TrainDataset" / "masks" / "0.png", value=1)
    assert prepare_polyp(source, tmp_path / "out")["test"]["images"] == 3
    assert check_datalist(tmp_path / "out")["test"]["images"] == 3


def test_the_check_of_a_datalist_reads_frames_and_their_masks(source, tmp_path):
    prepare_polyp(source, tmp_path / "out")
    mask(source / "TestDataset" / "A" / "masks" / "1.png", size=(16, 20))
    (source / "TestDataset" / "B" / "images" / "1.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        check_datalist(tmp_path / "out")
    first, second = sorted(caught.value.problems)
    assert "A/masks/1.png: expected the shape of its image 20 × 16, found 16 × 20" in first
    assert "B/images/1.jpg: cannot be read" in second


def test_a_table_of_other_frames_is_refused(source, tmp_path):
    """It would silently split sequences."""
    (tmp_path / "t.csv").write_text("frame,sequence\n001,1\n002,\n")
    problems = problems_of(source, tmp_path, sequences=tmp_path / "t.csv")
    assert [problem.split(": ", 1)[1] for problem in problems] == [
        "expected a sequence of frame 002, found none",
        "expected frames named as the training images, found 001 and 0",
    ]


def test_a_frame_without_contrast_is_refused_before_training_refuses_it(source, tmp_path):
    Image.new("RGB", (20, 16)).save(source / "TrainDataset" / "images" / "1.png")
    (problem,) = problems_of(source, tmp_path)
    assert problem.endswith("1.png: expected an image with contrast, found the constant 0")


def test_test_frames_of_a_trained_sequence_are_one_patient_and_marked(source, tmp_path):
    """Two test sets have a frame 1; the table speaks of A's alone, and x's sequence was not trained on."""
    rows = [("0", "s", "A"), ("1", "s", "A"), ("x", "t", "A")]
    pd.DataFrame(rows, columns=["frame", "sequence", "dataset"]).to_csv(tmp_path / "t.csv", index=False)
    prepare_polyp(source, tmp_path / "out", sequences=tmp_path / "t.csv")
    test = load_datalist(tmp_path / "out", "test")
    assert [(item["patient"], item["seen"]) for item in test] == [
        ("A/sequence s", True),
        ("A/sequence t", False),
        ("B/1", False),
    ]
    prepare_polyp(source, tmp_path / "alone")
    assert {item["seen"] for item in load_datalist(tmp_path / "alone", "test")} == {False}


def test_every_test_frame_of_clinicdb_shows_a_sequence_of_training(shared, tmp_path):
    source = shared / "data" / "polyp"
    prepare_polyp(source, tmp_path / "out", sequences="clinicdb")
    test = load_datalist(tmp_path / "out", "test")
    clinicdb = [item for item in test if item["dataset"] == "CVC-ClinicDB"]
    assert (len(clinicdb), len({item["patient"] for item in clinicdb})) == (62, 26)
    assert all(item["seen"] for item in clinicdb)
    assert not any(item["seen"] for item in test if item["dataset"] != "CVC-ClinicDB")


def test_masks_are_withheld_from_whole_sequences(source, tmp_path):
    table = tmp_path / "sequences.csv"
    pd.DataFrame({"frame": range(16), "sequence": [n // 4 for n in range(16)]}).to_csv(table, index=False)
    counts = prepare_polyp(source, tmp_path / "out", sequences=table, labelled=6)
    training = load_datalist(tmp_path / "out", class_names=["polyp"])["training"]
    assert 6 <= counts["training"]["strong"] <= 9
    assert counts["training"]["strong"] == sum("label" in item for item in training) < len(training)
    for item in training:
        assert item.get("supervision", "strong") == ("strong" if "label" in item else "none")
    groups = {
        item["patient"]: {"label" in other for other in training if other["patient"] == item["patient"]}
        for item in training
    }
    assert all(len(kinds) == 1 for kinds in groups.values())
    again = prepare_polyp(source, tmp_path / "again", sequences=table, labelled=6)
    assert again == counts
    assert check_datalist(tmp_path / "out") == counts


def test_frames_of_a_folder_join_without_a_mask(source, tmp_path):
    (tmp_path / "more").mkdir()
    frame(tmp_path / "more" / "a.png", seed=50)
    frame(tmp_path / "more" / "b.jpg", seed=51)
    before = prepare_polyp(source, tmp_path / "out")["training"]
    after = prepare_polyp(source, tmp_path / "more_out", unlabelled=tmp_path / "more")["training"]
    assert after == {**before, "images": before["images"] + 2, "patients": before["patients"] + 2}
    (tmp_path / "more" / "c.png").write_bytes(b"no picture")
    assert any(
        "c.png: cannot be read" in problem
        for problem in problems_of(source, tmp_path / "x", unlabelled=tmp_path / "more")
    )


@pytest.mark.parametrize("labelled", [0, 21])
def test_more_labels_than_frames_are_refused(source, tmp_path, labelled):
    with pytest.raises(ValueError, match=f"labelled: expected 1 to .* training frames, got {labelled}"):
        prepare_polyp(source, tmp_path / "out", labelled=labelled)
    assert not (tmp_path / "out").exists()
