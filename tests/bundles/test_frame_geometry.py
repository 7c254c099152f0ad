"""What the network is trained on: upright frames, and masks that lie where the polyp is."""

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from .conftest import Case


def _parsed(case: Case, key: str, size: list[int]):
    parser = ConfigParser()
    parser.read_config(str(case.bundle / "configs" / "train.yaml"))
    parser["image_size"] = size
    for step in parser["train"]["augmentation"]["transforms"]:
        step["prob"] = 0.0
    return parser.get_parsed_content(key)


def _disc(path, size, centre, radius):
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
    frame = np.where(inside[..., None], [200, 60, 60], [40, 30, 30]).astype(np.uint8)
    Image.fromarray(frame).save(path / "image.png")
    Image.fromarray((255 * inside).astype(np.uint8)).save(path / "mask.png")
    return {"image": str(path / "image.png"), "label": str(path / "mask.png")}


def _centre(values: torch.Tensor) -> np.ndarray:
    weight = (values > (values.amax() + values.median()) / 2).numpy()
    return (np.indices(values.shape) * weight).sum((1, 2)) / weight.sum()


@pytest.mark.parametrize("case", ["kdas"], indirect=True)
@pytest.mark.parametrize("size", [(530, 400), (384, 300), (1280, 1024)])
def test_image_and_mask_are_upright_and_in_one_place(case: Case, tmp_path, size) -> None:
    item = _disc(tmp_path, size, (0.7 * size[0], 0.3 * size[1]), 0.12 * size[0])
    made = _parsed(case, "train#preprocessing", [96, 128])(item)
    image, label = _centre(made["image"][0]), _centre(made["label"][0])
    assert made["image"].shape[1:] == made["label"].shape[1:] == (96, 128)
    np.testing.assert_allclose(image, label, atol=0.2)
    np.testing.assert_allclose(image, [0.3 * 96, 0.7 * 128], atol=1)  # rows first


@pytest.mark.parametrize("case", ["kdas", "ikdmil"], indirect=True)
def test_validation_shows_the_network_what_training_shows(case: Case, tmp_path) -> None:
    item = _disc(tmp_path, (530, 400), (371, 120), 60)
    trained, validated = (
        _parsed(case, f"{part}#preprocessing", [96, 128])(dict(item)) for part in ("train", "validate")
    )
    intensity = _parsed(case, "train#augmentation#transforms#1", [96, 128])
    shown = intensity({"image": torch.as_tensor(trained["image"])[None]})["image"][0]
    torch.testing.assert_close(shown, validated["image"].as_tensor())


@pytest.mark.parametrize("case", ["kdas"], indirect=True)
def test_scores_are_computed_on_the_mask_as_it_is(case: Case, tmp_path) -> None:
    validated = _parsed(case, "validate#preprocessing", [96, 128])(_disc(tmp_path, (530, 400), (371, 120), 60))
    assert validated["label"].shape[1:] == (530, 400)  # MONAI's order


@pytest.mark.parametrize("case", ["ikdmil"], indirect=True)
def test_a_batch_is_augmented_with_and_without_masks(case: Case) -> None:
    augmentation = _parsed(case, "train#augmentation", [32, 32])
    torch.manual_seed(0)
    image = torch.rand(8, 3, 32, 32)
    mask = (image[:, :1] > 0.5).float()
    made = augmentation({"image": image, "mask": mask, "label": torch.ones(8)})
    grey = made["image"] * torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    grey += torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    assert torch.equal((grey[:, :1] > 0.5).float(), made["mask"])  # moved alike, and every pixel is one of before
    assert not torch.equal(made["mask"], mask)
    assert augmentation({"image": image, "label": torch.ones(8)}).keys() == {"image", "label"}
