"""Frame in, mask out, whatever kind of image file the frame is; and teachers and students that do not fit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from monai.networks.nets import UNet
from PIL import Image

from medkd.networks import PolypPVT, checkpoints
from medkd.score import score_folders

from .conftest import Case

pytestmark = pytest.mark.parametrize("case", ["kdas"], indirect=True)
MEAN, STD = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


def _frame(size: tuple[int, int]) -> Image.Image:
    """Smooth, so that two ways of resizing it agree."""
    noise = np.random.default_rng(0).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def _infer(case: Case, trained: Path, frames: Path, out: Path) -> None:
    model = trained / "models" / "model.pt"
    case.run(["inference.yaml"], dataset_dir=frames, output_dir=out, model_path=model)


def test_every_kind_of_frame_gets_a_mask_of_its_size(case: Case, trained: Path, tmp_path: Path) -> None:
    frames, frame = tmp_path / "frames", _frame((70, 51))
    frames.mkdir()
    for mode in ("RGB", "RGBA", "P", "L"):
        frame.convert(mode).save(frames / f"{mode}.png")
    Image.new("RGB", (70, 51)).save(frames / "black.png")  # as videos have them
    (frames / "._RGB.png").write_bytes(b"what macOS leaves behind")
    frame.save(frames / "jpeg.jpg")
    frame.save(frames / "tiff.tif")
    Image.fromarray(np.asarray(frame.convert("L")).astype(np.uint16) * 257).save(frames / "sixteen.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter: upright it is 51 x 70
    frame.save(frames / "turned.jpg", exif=exif)
    _infer(case, trained, frames, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 9
    for path in frames.glob("[!.]*"):
        with Image.open(tmp_path / "out" / f"{path.stem}_seg.png") as mask:
            assert mask.mode == "L"
            assert mask.size == ((51, 70) if path.stem == "turned" else (70, 51))
            assert set(np.unique(np.asarray(mask))) <= {0, 1}


def test_mask_is_the_network_s_map_in_its_place(case: Case, trained: Path, tmp_path: Path) -> None:
    """Against the network called by hand, without MONAI's transforms; a shifted or turned mask would not agree."""
    frame = _frame((130, 90))
    frame.save(tmp_path / "frame.png")
    network = PolypPVT("b0")
    checkpoints.load_model(trained / "models" / "model.pt", network).eval()
    x = torch.from_numpy(np.array(frame)).permute(2, 0, 1).float() / 255
    x = torch.nn.functional.interpolate(x[None], (64, 96), mode="bilinear", antialias=True)
    with torch.no_grad():
        logits = network((x - MEAN) / STD)
    # After three short epochs a student sees no polyp anywhere: ask it for its own median instead.
    shifted = {k: v.clone() for k, v in network.state_dict().items()}
    shifted["fusion_head.bias"] -= logits.median()
    (tmp_path / "models").mkdir()
    content = torch.load(trained / "models" / "model.pt", weights_only=True)
    torch.save({**content, "model": shifted}, tmp_path / "models" / "model.pt")
    expected = torch.nn.functional.interpolate(logits - logits.median(), (90, 130), mode="bilinear")[0, 0] > 0
    _infer(case, tmp_path, tmp_path / "frame.png", tmp_path / "out")
    with Image.open(tmp_path / "out" / "frame_seg.png") as mask:
        found = np.asarray(mask) > 0
    assert 0.2 < found.mean() < 0.8
    assert (found == expected.numpy()).mean() > 0.98


def test_maps_score_as_the_evaluation_does(case: Case, trained: Path, tmp_path: Path) -> None:
    """To the maps' 8 bits; masks of the same student score otherwise."""
    content = torch.load(trained / "models" / "model.pt", weights_only=True)
    content["model"]["fusion_head.bias"] += 1.0  # a student that sees something
    (tmp_path / "models").mkdir()
    torch.save(content, tmp_path / "models" / "model.pt")
    case.train(tmp_path, "evaluate.yaml")
    expected = pd.read_csv(tmp_path / "eval" / "summary.csv").iloc[0]
    datalist = json.loads((case.data / "datalist.json").read_text())["test"]
    for key in ("image", "label"):
        (tmp_path / key).mkdir()
        for item in datalist:
            shutil.copy(case.data / item[key], tmp_path / key / f"{Path(item['image']).stem}.png")
    model = tmp_path / "models" / "model.pt"
    case.run(
        ["inference.yaml"], dataset_dir=tmp_path / "image", output_dir=tmp_path / "maps", model_path=model, maps="true"
    )
    found = score_folders(tmp_path / "maps", tmp_path / "label")
    for name in ("meanDic", "meanIoU", "maxDic", "wFm", "Sm", "meanEm", "mae"):
        assert found[name] == pytest.approx(float(expected[name]), abs=1e-3), name
    _infer(case, tmp_path, tmp_path / "image", tmp_path / "masks")
    assert abs(score_folders(tmp_path / "masks", tmp_path / "label")["meanDic"] - found["meanDic"]) > 0.01


def test_a_frame_that_cannot_be_read_is_named(case: Case, trained: Path, tmp_path: Path) -> None:
    _frame((70, 51)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:300])
    done = case.run(
        ["inference.yaml"],
        check=False,
        dataset_dir=tmp_path / "cut.jpg",
        output_dir=tmp_path / "out",
        model_path=trained / "models" / "model.pt",
    )
    assert done.returncode
    assert "cut.jpg" in done.stdout + done.stderr
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher_path": "/nowhere/teacher.pt"}, "/nowhere/teacher.pt: expected a trained model, found nothing there"),
        ({"teacher_def#backbone": "b0"}, "teacher.pt: expected the weights of PolypPVT, found others"),
        ({"image_size": [64, 90]}, "expected sides that are multiples of 32, got (64, 90)"),
    ],
    ids=["missing", "of another backbone", "sides"],
)
def test_what_cannot_be_distilled_is_refused(case: Case, tmp_path: Path, settings: dict, message: str) -> None:
    done = case.train(tmp_path, check=False, **{"scales": [1.0], **settings})
    assert done.returncode
    assert message in done.stdout + done.stderr
    assert not (tmp_path / "models").exists()


def test_networks_of_monai_are_teacher_and_student(case: Case, tmp_path: Path) -> None:
    unet = {"spatial_dims": 2, "in_channels": 3, "out_channels": 1, "strides": [2, 2]}
    student, teacher = {**unet, "channels": [4, 8, 8]}, {**unet, "channels": [8, 8, 8]}
    torch.save({"model": UNet(**teacher).state_dict()}, tmp_path / "teacher.pt")
    settings = {
        "network_def": {"_target_": "UNet", **student},
        "teacher_def": {"_target_": "UNet", **teacher},
        "single_map": True,
    }
    (tmp_path / "unet.yaml").write_text(yaml.safe_dump(settings))
    own = {key: value for key, value in case.settings.items() if not key.startswith("teacher_def")}
    case.run(
        ["train.yaml", str(tmp_path / "unet.yaml")],
        bundle_root=tmp_path,
        dataset_dir=case.data,
        **{**own, "teacher_path": tmp_path / "teacher.pt"},
    )
    checkpoints.load_model(tmp_path / "models" / "model.pt", UNet(**student))
    (tmp_path / "frames").mkdir()
    _frame((70, 51)).save(tmp_path / "frames" / "a.png")
    _infer(case, tmp_path, tmp_path / "frames", tmp_path / "out")  # the student's file says which network it is of
    assert (tmp_path / "out" / "a_seg.png").is_file()
