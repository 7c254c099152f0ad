"""Small sources in the layouts that the commands of the documentation expect, each under the name that a page gives it."""

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from PIL import Image

from medkd.bundle import copy_bundle
from medkd.datasets import make_cardiac_phantoms
from medkd.slides import make_slide, write_annotation

from ..dicom.conftest import datasets, volume, write

_SPACING = np.diag([1.5, 1.5, 8.0, 1.0])


def acdc(folder: Path, patients: int = 12) -> None:
    """ACDC's layout: 48 × 48 × 3, all classes, scribbles of each and of the background."""
    rng, truth = np.random.default_rng(0), np.zeros((48, 48, 3), np.uint8)
    truth[8:20, 8:40], truth[20:40, 8:40], truth[25:35, 15:30] = 1, 2, 3
    scribble = np.full_like(truth, 4)
    scribble[2], scribble[12, 10:38], scribble[22, 10:38], scribble[30, 17:28] = 0, 1, 2, 3
    for patient in (f"patient{number:03d}" for number in range(1, patients + 1)):
        (folder / patient).mkdir(parents=True)
        for frame in ("frame01", "frame12"):
            stem = folder / patient / f"{patient}_{frame}"
            image = truth * 50 + rng.random(truth.shape, dtype=np.float32) * 40
            for name, values in (("", image), ("_gt", truth), ("_scribble", scribble)):
                nib.save(nib.Nifti1Image(values, _SPACING), f"{stem}{name}.nii.gz")


def study(folder: Path) -> None:
    """A DICOM series."""
    write(folder, datasets(volume()))


def own_data(folder: Path, datalist: str, classes: int) -> None:
    """What the example of a datalist in your-data.md names, with labels of so many classes."""
    folder.mkdir()
    (folder / "datalist.json").write_text(datalist)
    for name in "abde":
        image = np.random.default_rng(ord(name)).random((40, 44, 6), dtype=np.float32)
        label = np.zeros(image.shape, np.uint8)
        for value in range(1, classes + 1):
            label[value * 8 : value * 8 + 8, 5:35] = value
        if name == "b":
            label[:, ::2] = 255
        nib.save(nib.Nifti1Image(image, _SPACING), folder / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(label, _SPACING), folder / f"{name}_{'scribbles' if name == 'b' else 'mask'}.nii.gz")
    study(folder / "c_series")


def hearts(folder: Path) -> None:
    make_cardiac_phantoms(folder, strong=1, weak=2, validation=1, test=1, size=48, slices=3)


def hearts_of_the_lesson(folder: Path) -> None:
    """Two test volumes, the first of which is the tutorial's, phantom023."""
    make_cardiac_phantoms(folder, strong=4, weak=17, validation=1, test=2, size=48, slices=2)


def heart_images(folder: Path) -> None:
    hearts(folder.parent / "more")
    (folder.parent / "more" / "images").rename(folder)


def teacher(folder: Path) -> None:
    """A bundle of ConfKD that is trained enough to have weights."""
    copy_bundle("confkd", folder)
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.yaml"))
    (folder / "models").mkdir()
    torch.save({"model": parser.get_parsed_content("network_def").state_dict()}, folder / "models" / "model.pt")


def _picture(path: Path, seed: int, spot: bool, side: int = 64) -> None:
    """Noise, with a darker square or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(150, 250, (side, side, 3)).astype(np.uint8)
    if spot:
        pixels[16:40, 20:44] //= 2
    Image.fromarray(pixels).save(path)


def _mask(path: Path, spot: bool = True, side: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((side, side), np.uint8)
    if spot:
        values[16:40, 20:44] = 255
    Image.fromarray(values).save(path)


def polyp(folder: Path) -> None:
    """PraNet's layout; frames 1 to 12 are of CVC-ClinicDB, in its first sequence, and of its fourth and fifth."""
    for part, names in (("TrainDataset", [1, 2, 3, 70, 71, 90, 91, 120]), ("TestDataset/CVC-ClinicDB", [4, 72])):
        for name in names:
            _picture(folder / part / "images" / f"{name}.png", name, spot=True)
            _mask(folder / part / "masks" / f"{name}.png")


def frames(folder: Path) -> None:
    for number in range(2):
        _picture(folder / f"f{number}.png", number, spot=True)


def frame_masks(folder: Path) -> None:
    for number in range(2):
        _mask(folder / f"f{number}.png")


def tiles(folder: Path) -> None:
    for number in range(20):
        _picture(folder / f"tile{number:02d}.png", number, spot=bool(number % 2))


def tile_masks(folder: Path) -> None:
    for number in range(1, 20, 2):
        _mask(folder / f"tile{number:02d}.png")


def tile_labels(path: Path) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "label", "patient"])
        rows.writerows([f"tile{number:02d}.png", number % 2, f"p{number // 2}"] for number in range(20))


def slides(folder: Path) -> None:
    make_slide(folder / "ring.tif", (500, 600))


def camelyon16(folder: Path) -> None:
    for name in ("normal_001", "normal_002", "tumor_001", "tumor_002", "test_001", "test_002"):
        made = make_slide(folder / f"{name}.tif", (2100, 2100))
        if name in {"tumor_001", "tumor_002", "test_001"}:
            shapes = made.polygons()
            write_annotation(
                folder.parent / "ANNOTATIONS" / f"{name}.xml", {"_0": shapes["Tumor"], "_2": shapes["Exclusion"]}
            )


def digestpath(folder: Path) -> None:
    for number in range(8):
        positive = number > 0
        path = folder / f"tissue-train-{'pos-v1' if positive else 'neg'}" / f"P{number}_2019-05-07 23-56-22.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((1100, 1100, 3), (220, 160, 200), np.uint8)
        truth = np.zeros((1100, 1100), np.uint8)
        if positive:
            pixels[:512, :512], truth[:512, :512] = (120, 60, 160), 255
            Image.fromarray(truth).save(path.with_name(f"{path.stem}_mask.jpg"))
        Image.fromarray(pixels).save(path)


def glas(folder: Path) -> None:
    rows = ["name,patient_id,grade_glas"]
    for number in range(8):
        _picture(folder / "images" / f"train_{number}.png", number, spot=True, side=256)
        _mask(folder / "masks" / f"train_{number}.png", side=256)
        rows.append(f"train_{number},{number},{['benign', 'malignant'][number % 2]}")
    (folder / "grade.csv").write_text("\n".join(rows) + "\n")


BY_DATASET = {
    "acdc": {"SOURCE": acdc},
    "camelyon16": {"SLIDES": camelyon16},
    "digestpath": {"SOURCE": digestpath},
    "glas": {"SOURCE": glas},
    "polyp": {"SOURCE": polyp},
}
