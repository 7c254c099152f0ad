"""What any tool writes of a prediction, and what is none of this image."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from medkd.reading.predictions import read_prediction

AFFINE = np.diag([1.5, 1.5, 8.0, 1.0])
VOLUME = MetaTensor(torch.zeros(1, 4, 5, 6), affine=AFFINE)
FRAME = torch.zeros(3, 4, 5)


@pytest.fixture
def probability() -> np.ndarray:
    return torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0)).softmax(0).numpy()


def _nifti(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def test_probabilities_of_all_classes_or_of_the_structures(tmp_path: Path, probability: np.ndarray) -> None:
    last = np.moveaxis(probability, 0, -1)
    for name, values in (("all.nii.gz", last), ("structures.nii.gz", last[..., 1:])):
        found = read_prediction(_nifti(tmp_path / name, values), VOLUME, 3)
        np.testing.assert_allclose(found.numpy(), probability, atol=1e-6)


def test_what_nnunet_saves_has_its_axes_in_reverse(tmp_path: Path, probability: np.ndarray) -> None:
    np.savez(tmp_path / "case.npz", probabilities=probability.transpose(0, 3, 2, 1).astype(np.float16))
    np.testing.assert_allclose(read_prediction(tmp_path / "case.npz", VOLUME, 3).numpy(), probability, atol=1e-3)


def test_classes_become_certain(tmp_path: Path) -> None:
    classes = np.random.default_rng(0).integers(0, 3, (4, 5, 6))
    found = read_prediction(_nifti(tmp_path / "classes.nii.gz", classes.astype(np.uint8)), VOLUME, 3)
    np.testing.assert_array_equal(found.argmax(0).numpy(), classes)
    assert set(found.unique().tolist()) == {0.0, 1.0}


def test_a_frame_s_grey_values_are_probabilities_and_its_classes_are_classes(tmp_path: Path) -> None:
    grey = np.arange(20, dtype=np.uint8).reshape(5, 4) * 13  # rows first, as pictures are
    Image.fromarray(grey).save(tmp_path / "map.png")
    found = read_prediction(tmp_path / "map.png", FRAME, 2)
    np.testing.assert_allclose(found[1].numpy(), grey.T / 255, atol=1e-6)
    Image.fromarray((grey > 100).astype(np.uint8)).save(tmp_path / "classes.png")
    np.testing.assert_array_equal(read_prediction(tmp_path / "classes.png", FRAME, 2)[1].numpy(), grey.T > 100)


def test_a_map_without_the_structure_is_still_a_map(tmp_path: Path) -> None:
    """Its largest value is 1 of 255; of a picture of classes that would be the structure for certain."""
    faint = np.zeros((5, 4), np.uint8)
    faint[2, 1] = 1
    for name, expected in (("frame_map.png", 1 / 255), ("frame.png", 1.0)):
        Image.fromarray(faint).save(tmp_path / name)
        assert read_prediction(tmp_path / name, FRAME, 2)[1].max() == pytest.approx(expected)


def test_a_picture_of_several_classes(tmp_path: Path) -> None:
    classes = np.random.default_rng(0).integers(0, 3, (5, 4)).astype(np.uint8)
    Image.fromarray(classes).save(tmp_path / "frame.png")
    np.testing.assert_array_equal(read_prediction(tmp_path / "frame.png", FRAME, 3).argmax(0).numpy(), classes.T)


def test_more_classes_of_a_picture_come_in_a_file_for_volumes(tmp_path: Path) -> None:
    probability = torch.randn(3, 4, 5).softmax(0).numpy()
    path = _nifti(tmp_path / "frame.nii.gz", np.moveaxis(probability, 0, -1)[:, :, None, 1:], np.eye(4))
    np.testing.assert_allclose(read_prediction(path, FRAME, 3).numpy(), probability, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "affine", "found"),
    [
        (np.zeros((4, 5, 7)), AFFINE, r"4 × 5 × 7"),
        (np.zeros((4, 5, 6)), np.eye(4), "geometry"),
        (np.full((4, 5, 6), 3), AFFINE, "classes from 0 to 2, found 3 to 3"),
        (np.full((4, 5, 6), 0.5), AFFINE, "probabilities of 3 classes, found 1 channels"),
        (np.full((4, 5, 6, 4), 0.25), AFFINE, "probabilities of 3 classes, found 4 channels"),
        (np.full((4, 5, 6, 3), 0.5), AFFINE, r"sum to one, found sums from 1\.5 to 1\.5"),
        (np.full((4, 5, 6, 2), 0.7), AFFINE, "sum to one at most"),
        (np.full((4, 5, 6, 3), 85.3), AFFINE, "from 0 to 1"),
        (np.full((4, 5, 6), np.nan), AFFINE, "finite"),
    ],
)
def test_what_is_none_of_this_image_is_refused(tmp_path: Path, values, affine, found: str) -> None:
    path = _nifti(tmp_path / "case.nii.gz", values.astype(np.float32), affine)
    with pytest.raises(ValueError, match=rf"case\.nii\.gz: expected .*{found}"):
        read_prediction(path, VOLUME, 3)


def test_eight_bits_of_many_classes_may_sum_to_more_than_one(tmp_path: Path) -> None:
    """66 equal probabilities of 3.86/255 are kept as 4/255 each."""
    path = _nifti(tmp_path / "many.nii.gz", np.full((4, 4, 2, 66), np.float32(4 / 255)))
    found = read_prediction(path, MetaTensor(torch.zeros(1, 4, 4, 2), affine=AFFINE), 67)
    assert float(found[0].max()) == 0
    path = _nifti(tmp_path / "few.nii.gz", np.full((4, 4, 2, 3), np.float32(0.345)))
    with pytest.raises(ValueError, match="sum to one at most"):
        read_prediction(path, MetaTensor(torch.zeros(1, 4, 4, 2), affine=AFFINE), 4)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "case.npz", image=np.zeros(3))
    with pytest.raises(ValueError, match=r"named probabilities or softmax, found \['image'\]"):
        read_prediction(tmp_path / "case.npz", VOLUME, 3)


def test_a_picture_of_more_bits_is_not_cut(tmp_path: Path) -> None:
    Image.fromarray(np.arange(20, dtype=np.uint16).reshape(5, 4) % 3).save(tmp_path / "classes.png")
    assert read_prediction(tmp_path / "classes.png", FRAME, 3).argmax(0).T.flatten()[:4].tolist() == [0, 1, 2, 0]
    Image.fromarray(np.arange(20, dtype=np.uint16).reshape(5, 4) * 3000).save(tmp_path / "deep_map.png")
    with pytest.raises(ValueError, match=r"deep_map\.png: expected a picture of 8 bits, found values up to 57000"):
        read_prediction(tmp_path / "deep_map.png", FRAME, 2)


def test_a_picture_in_colour_is_no_prediction(tmp_path: Path) -> None:
    grey = np.arange(20, dtype=np.uint8).reshape(5, 4) * 13
    Image.fromarray(grey).convert("RGB").save(tmp_path / "grey.png")
    assert read_prediction(tmp_path / "grey.png", FRAME, 2)[1].max() == pytest.approx(247 / 255)
    Image.fromarray(np.stack([grey, grey // 2, grey], -1)).save(tmp_path / "colour.png")
    with pytest.raises(ValueError, match=r"colour\.png: expected a grey picture .* found one in colour"):
        read_prediction(tmp_path / "colour.png", FRAME, 2)
