"""A student of a folder of predictions: of volumes and pictures, with and without labels, wherever the folder is from."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from medkd.bundle import bundle_path
from medkd.datasets import load_datalist, make_polyp_phantoms, with_predictions
from medkd.teaching import load_teacher, teach

from ..helpers import run_bundle

CONFIGS = bundle_path("compact") / "configs"
SHORT = {
    "max_epochs": 2,
    "epoch_length": 2,
    "val_interval": 1,
    "num_workers": 0,
    "progress": False,
    "images_per_batch": 2,
}
VOLUMES = {**SHORT, "patch_size": [32, 32]}
FRAMES = {
    **SHORT,
    "kind": "frame", "class_names": ["polyp"], "image_size": [64, 96], "patch_size": [64, 96], "patches_per_image": 1,
    "intensity_range": [0, 255], "mean": [0.5] * 3, "std": [0.5] * 3,
}  # fmt: skip


def _train(root: Path, data: Path, folder: Path, **settings: object) -> dict[str, torch.Tensor]:
    run_bundle([CONFIGS / "train.yaml"], bundle_root=root, dataset_dir=data, teacher_dir=folder, **settings)
    content: dict[str, dict[str, torch.Tensor]] = torch.load(root / "models" / "model.pt", weights_only=True)
    return content["model"]


@pytest.fixture(scope="module")
def taught(zoo: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folder") / "predictions"
    teach([load_teacher(zoo, trust=True)], data, folder)
    return folder


def _distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max(float((one[key].float() - other[key].float()).abs().max()) for key in one)


def test_the_same_maps_from_outside_give_the_same_student(data: Path, taught: Path, tmp_path: Path) -> None:
    outside, wrong = tmp_path / "outside", tmp_path / "wrong"
    outside.mkdir()
    wrong.mkdir()
    for item in with_predictions(load_datalist(data, "training"), taught):
        maps = nibabel.load(item["teacher"])
        whole = maps.get_fdata(dtype=np.float32)
        whole = np.concatenate([1 - whole.sum(-1, keepdims=True), whole], -1)
        nibabel.save(nibabel.Nifti1Image(whole, maps.affine), outside / Path(item["image"]).name)
        nibabel.save(nibabel.Nifti1Image(whole[..., ::-1], maps.affine), wrong / Path(item["image"]).name)
    students = [_train(tmp_path / f"by {folder.name}", data, folder, **VOLUMES) for folder in (taught, outside, wrong)]
    assert _distance(students[0], students[1]) < 1e-4
    assert _distance(students[0], students[2]) > 1e-3  # the classes in another order: it is these maps that teach


@pytest.mark.parametrize("labelled", [1, 0])
def test_images_without_labels_teach_too(data: Path, taught: Path, tmp_path: Path, labelled: int) -> None:
    """Labels of all images, or all but one, are withheld: other maps of those make another student."""
    content = load_datalist(data)
    for item in content["training"][labelled:]:
        item.pop("label")
        item.pop("weak_label", None)
        item["supervision"] = "none"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "datalist.json").write_text(json.dumps(content))
    other = shutil.copytree(taught, tmp_path / "other")
    for item in with_predictions(content["training"][labelled:], other):
        maps = nibabel.load(item["teacher"])
        nibabel.save(nibabel.Nifti1Image(np.zeros(maps.shape, np.uint8), maps.affine), item["teacher"])
    student, again, misled = (
        _train(tmp_path / name, tmp_path / "data", folder, **VOLUMES)
        for name, folder in (("student", taught), ("again", taught), ("misled", other))
    )
    assert _distance(student, again) == 0
    assert _distance(student, misled) > 1e-3


def test_frames_learn_from_grey_maps_and_come_back_in_their_own_size(tmp_path: Path) -> None:
    data = tmp_path / "data"
    make_polyp_phantoms(data, training=4, validation=2, test=2, size=80)
    maps = tmp_path / "maps"
    maps.mkdir()
    for item in load_datalist(data, "training"):
        mask = np.asarray(Image.open(item["label"])) > 0
        Image.fromarray(np.where(mask, 230, 20).astype(np.uint8)).save(maps / f"{Path(item['image']).stem}_map.png")
    _train(tmp_path / "root", data, maps, **FRAMES)
    root = {"bundle_root": tmp_path / "root", "dataset_dir": data}
    run_bundle([CONFIGS / "train.yaml", CONFIGS / "evaluate.yaml"], **root, **FRAMES)
    assert len((tmp_path / "root" / "eval" / "cases.csv").read_text().splitlines()) == 1 + 2
    images = sorted((data / "images").iterdir())
    out = tmp_path / "out"
    run_bundle([CONFIGS / "inference.yaml"], **{**root, "dataset_dir": data / "images"}, output_dir=out, kind="frame")
    for image in images:
        mask = Image.open(out / f"{image.stem}_seg.png")
        assert mask.size == Image.open(image).size
        assert set(np.unique(mask)) <= {0, 1}


def test_an_upright_frame_gives_an_upright_mask(tmp_path: Path) -> None:
    """A student that says polyp where it is bright, on a frame whose upper right corner is."""
    network = torch.nn.Conv2d(3, 2, 1)
    with torch.no_grad():
        network.weight[:] = torch.tensor([[-1.0], [1.0]])[..., None, None]
        network.bias.zero_()
    settings = {
        key: FRAMES[key]
        for key in ("kind", "class_names", "image_size", "patch_size", "intensity_range", "mean", "std")
    }
    settings |= {"spatial_dims": 2, "pixdim": [-1, -1, -1]}
    settings["network_def"] = {"_target_": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 2, "kernel_size": 1}
    (tmp_path / "models").mkdir()
    torch.save({"model": network.state_dict(), "settings": settings}, tmp_path / "models" / "model.pt")
    frame = np.zeros((60, 100, 3), np.uint8)
    frame[:20, 70:] = 255
    Image.fromarray(frame).save(tmp_path / "frame.png")
    out = tmp_path / "out"
    run_bundle([CONFIGS / "inference.yaml"], bundle_root=tmp_path, dataset_dir=tmp_path / "frame.png", output_dir=out)
    mask = np.asarray(Image.open(out / "frame_seg.png"))
    truth = frame[..., 0] > 0
    assert 2 * (mask.astype(bool) & truth).sum() / (mask.sum() + truth.sum()) > 0.95


def test_the_memory_format_changes_the_pace_alone(data: Path, taught: Path, tmp_path: Path) -> None:
    """With plain gradient descent, for Adam makes whole steps of gradients that are rounding errors."""
    settings = {**VOLUMES, "amp": False, "optimizer#_target_": "torch.optim.SGD", "learning_rate": 0.1}
    plain, faster, other = (
        _train(tmp_path / name, data, taught, **settings, memory_format=form, seed=seed)
        for name, form, seed in (
            ("plain", "contiguous_format", 0),
            ("faster", "channels_last", 0),
            ("other", "channels_last", 1),
        )
    )
    assert _distance(plain, faster) < 1e-4
    assert _distance(plain, other) > 1e-3
