"""All three bundles in the stock app of a real server: read, segment, correct, retrain."""

import os
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

from medkd.datasets import make_cardiac_phantoms, make_histology_phantoms, make_polyp_phantoms
from medkd.serving import deploy

from .. import helpers
from .conftest import METHODS, small_copy
from .monai_label import Server

HEART, POLYP, TISSUE = "confkd_cardiac_mri_segmentation", "kdas_polyp_segmentation", "ikdmil_histology_segmentation"
STUDIES = {name: method.kind for name, method in METHODS.items()}
VOLUMES = [name for name, kind in STUDIES.items() if kind == "heart"]
FIRST = {"heart": "heart0.nii.gz", "polyp": "polyp0.png", "tissue": "tissue0.png"}


def run_bundle(bundle: Path, image: Path, out: Path, **more: object) -> np.ndarray:
    """The bundle's own inference."""
    configs = [bundle / "configs" / "inference.yaml"]
    helpers.run_bundle(configs, bundle_root=bundle, dataset_dir=image, output_dir=out, **more)
    (path,) = out.iterdir()
    return path


def pixels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj) if path.name.endswith(".nii.gz") else np.asarray(Image.open(path))


def partly_annotated(label: Path, to: Path) -> Path:
    image = nib.load(label)
    mask = np.asarray(image.dataobj).copy()
    mask[..., 0] = 255
    nib.save(nib.Nifti1Image(mask, image.affine), to)
    return to


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Images by kind, with their labels beside them; the server gets the images alone."""
    folder = tmp_path_factory.mktemp("files")
    make_cardiac_phantoms(folder / "heart", strong=2, weak=1, validation=1, test=1, size=64, slices=3)
    make_polyp_phantoms(folder / "polyp", training=3, validation=1, test=1, size=64)
    make_histology_phantoms(folder / "tissue", training=6, validation=2, test=2, size=64)
    (folder / "studies").mkdir()
    found = {}
    for model, kind in STUDIES.items():
        images = sorted((folder / kind / "images").iterdir())
        labels = next(p for p in (folder / kind / "labels", folder / kind / "masks") if p.is_dir())
        found[model] = {f"{kind}{i}": labels / image.name for i, image in enumerate(images)}
        for i, image in enumerate(images):
            shutil.copy(image, folder / "studies" / f"{kind}{i}{''.join(image.suffixes)}")
    found[HEART]["heart2"] = folder / "heart" / "weak_labels" / "phantom003.nii.gz"
    found[HEART]["heart4"] = partly_annotated(found[HEART]["heart4"], folder / "partly.nii.gz")
    Image.open(folder / "studies" / "polyp0.png").save(folder / "studies" / "photo.jpg", quality=95)
    return folder / "studies", found


@pytest.fixture(scope="module")
def server(label_env, files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    environment = {**os.environ, "PATH": f"{label_env.parent}{os.pathsep}{os.environ['PATH']}"}
    download = [
        str(label_env.parent / "monailabel"),
        "apps",
        "--download",
        "--name",
        "monaibundle",
        "--output",
        str(folder),
    ]
    subprocess.run(download, check=True, capture_output=True, env=environment)
    for name in METHODS:
        bundle = small_copy(name, folder / "bundles")
        if name == TISSUE:  # stage 1 trains it
            (bundle / "checkpoints" / "teacher.pt").unlink()
        deploy(bundle, folder / "monaibundle")
    made = Server(label_env, folder / "monaibundle", files[0], folder)
    yield made.start("--conf", "models", ",".join(METHODS), "--conf", "zoo_source", "ngc", "--conf", "sam2", "false")
    made.stop()


@pytest.fixture
def studies(files):
    return files[0]


def test_every_bundle_is_offered_with_its_labels(server):
    models = server.info()["models"]
    assert models[HEART]["labels"] == {"right ventricle": 1, "myocardium": 2, "left ventricle": 3}
    assert (models[POLYP]["labels"], models[TISSUE]["labels"]) == ({"polyp": 1}, {"tumour": 1})
    assert set(server.info()["trainers"]) == set(METHODS)


@pytest.mark.parametrize(
    ("model", "image"),
    [*((name, FIRST[kind]) for name, kind in STUDIES.items()), (POLYP, "photo.jpg")],
)
def test_inference_is_the_bundle_s_own(server, studies, tmp_path, model, image):
    mask = tmp_path / ("served.nii.gz" if model in VOLUMES else "served.png")
    server.infer(model, image.split(".")[0], mask)
    own = run_bundle(server.app / "model" / model, studies / image, tmp_path / "own")
    assert np.array_equal(pixels(mask), pixels(own))
    if model in VOLUMES:
        assert np.allclose(nib.load(mask).affine, nib.load(own).affine)
        assert nib.load(mask).get_data_dtype() == np.uint8


def test_slicer_gets_nrrd_in_the_image_s_place(server, studies, tmp_path):
    import SimpleITK as sitk

    server.infer(HEART, "heart0", tmp_path / "mask.nrrd", result_extension=".nrrd", result_dtype="uint8")
    own = sitk.ReadImage(str(run_bundle(server.app / "model" / HEART, studies / "heart0.nii.gz", tmp_path / "own")))
    found = sitk.ReadImage(str(tmp_path / "mask.nrrd"))
    assert np.array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(own))
    for part in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert np.allclose(getattr(found, part)(), getattr(own, part)(), atol=1e-5)


@pytest.mark.parametrize("model", METHODS)
def test_corrected_labels_train_the_student_with_distillation(server, files, tmp_path, model):
    studies, labels = files
    for image, label in labels[model].items():
        server.put_label(image, label)
    weights = server.app / "model" / model / "models" / "model.pt"
    before = torch.load(weights, weights_only=True)["model"]
    answer = server.train(model, tracking="mlflow")
    for image in labels[model]:  # the server would train the next model on them
        server.remove_label(image)
    assert answer.status_code == 200, answer.text + server.said()
    after = torch.load(weights, weights_only=True)["model"]
    assert any(not torch.equal(before[key], after[key]) for key in before), server.said()
    client = MlflowClient(server.store)
    (run,) = client.search_runs([client.get_experiment_by_name(model).experiment_id])
    assert run.info.status == "FINISHED"
    # MONAI's own tracking, which is what this server asks for, calls them otherwise than medkd's.
    assert all(run.data.metrics[term.replace("/", "_")] > 0 for term in METHODS[model].terms)
    if model == TISSUE:
        assert (weights.parents[1] / "checkpoints" / "teacher" / "best.pt").is_file()
    image = next(p for p in studies.iterdir() if p.name.startswith(f"{STUDIES[model]}0."))
    mask = tmp_path / ("served.nii.gz" if model in VOLUMES else "served.png")
    server.infer(model, f"{STUDIES[model]}0", mask)
    # The stock app goes on with the threshold that was deployed; the bundle itself takes the new student's own.
    deployed = {"threshold": 0.5} if model == TISSUE else {}
    own = run_bundle(server.app / "model" / model, image, tmp_path / "own", **deployed)
    assert np.array_equal(pixels(mask), pixels(own))
