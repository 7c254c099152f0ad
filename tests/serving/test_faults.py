"""What goes wrong around a running server, in medkd's own app."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests
from mlflow import MlflowClient
from PIL import Image

from .conftest import edit, labelled_hearts, small_copy
from .test_server import pixels

HEART, TISSUE = "confkd_cardiac_mri_segmentation", "ikdmil_histology_segmentation"


@pytest.fixture(scope="module")
def server(label_env, tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    made = labelled_hearts(label_env, folder, *(small_copy(name, folder / "bundles") for name in (HEART, TISSUE)))
    yield made
    made.stop()


@pytest.fixture
def hearts(server):
    return sorted(p.name.removesuffix(".nii.gz") for p in Path(server.studies).glob("phantom*.nii.gz"))


def add(server, name, save):
    """A study that comes while the server runs."""
    save(Path(server.studies) / name)
    server.wait_for_study(name.split(".")[0])


def test_a_volume_with_phases_is_refused_with_its_reason(server):
    image = nib.Nifti1Image(np.random.default_rng(0).normal(size=(32, 32, 3, 4)).astype(np.float32), np.eye(4))
    add(server, "cine.nii.gz", lambda path: nib.save(image, path))
    assert server.infer(HEART, "cine").status_code == 500
    server.wait_for(".nii.gz: expected a 3D image of one channel, found 32 × 32 × 3 × 4")


def test_a_picture_with_alpha_is_segmented(server, tmp_path):
    pixels_ = np.random.default_rng(0).integers(0, 255, (48, 64, 4), dtype=np.uint8)
    add(server, "alpha.png", lambda path: Image.fromarray(pixels_).save(path))
    server.infer(TISSUE, "alpha", tmp_path / "mask.png")
    assert pixels(tmp_path / "mask.png").shape == (48, 64)


def test_an_image_that_vanished_is_an_error_of_that_request_alone(server, hearts, tmp_path):
    study = Path(server.studies) / f"{hearts[-1]}.nii.gz"
    shutil.copy(study, tmp_path)
    study.unlink()
    answer = server.infer(HEART, hearts[-1])
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "image: expected the name of a study, found nothing of that name",
    )
    shutil.copy(tmp_path / study.name, study)
    server.infer(HEART, hearts[0], tmp_path / "mask.nii.gz")


def test_unknown_models_and_foreign_files_are_refused(server, hearts, tmp_path):
    assert server.infer("nobody", hearts[0]).status_code in {404, 500}
    server.wait_for("There is no model 'nobody' available")
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 3), np.float32), np.eye(4)), tmp_path / "other.nii.gz")
    for path in (tmp_path / "other.nii.gz", Path(server.studies) / ".." / "server.log", Path("/etc/passwd")):
        answer = server.infer(HEART, str(path))
        assert (answer.status_code, answer.json()["detail"]) == (
            400,
            "image: expected the name of a study, found a path",
        )


def test_paths_lead_nowhere_else(server, hearts, tmp_path):
    weights = str(server.app / "model" / HEART / "models" / "model.pt")
    assert server.infer(HEART, hearts[0], model_filename=weights).status_code == 400
    server.wait_for("model_filename: expected a name")
    assert server.infer(HEART, hearts[0], save_label=True, label_tag=str(tmp_path / "tag")).status_code == 400
    server.wait_for("label_tag: expected a name, or nothing")
    (tmp_path / "main.py").write_text("1 / 0")
    with (tmp_path / "main.py").open("rb") as file:
        where = f"{server.url}/datastore/image?image={server.app}/main"
        answer = requests.put(where, files={"file": ("main.py", file)}, timeout=60)
    assert (answer.status_code, answer.json()["detail"]) == (400, "image_id: expected a name, found a path")
    assert "MyApp" in (server.app / "main.py").read_text()
    assert not (tmp_path / "tag").exists()


def test_inferences_beside_a_training(server, hearts, tmp_path):
    log = len(server.log.read_text())
    server.train(HEART, wait=False, max_epochs=60)
    server.wait_for("Epoch[1] Complete", behind=log)
    with ThreadPoolExecutor(2) as pool:
        masks = [pool.submit(server.infer, HEART, hearts[0], tmp_path / f"{n}.nii.gz") for n in range(2)]
        assert [mask.result().status_code for mask in masks] == [200, 200]
    assert requests.get(f"{server.url}/train/", timeout=60).json()["status"] == "RUNNING"
    assert np.array_equal(pixels(tmp_path / "0.nii.gz"), pixels(tmp_path / "1.nii.gz"))
    server.wait_for_training()


def test_fresh_weights_and_the_bundle_s_own_validation_data(server):
    data = server.log.parent / "heart"
    shutil.copytree(data, server.app / "model" / HEART / "data")
    with_weights = server.train(HEART, val_split=0)  # leaves its loader in the task's list of handlers
    fresh = server.train(HEART, pretrained=False, val_split=-1)
    assert (with_weights.status_code, fresh.status_code) == (200, 200), server.said()
    client = MlflowClient(server.store)
    run, *_ = client.search_runs([client.get_experiment_by_name(HEART).experiment_id])
    assert "val/mean_dice" in run.data.metrics
    *_, first, second = server.log.read_text().split("Train Request")
    assert ("CheckpointLoader" in first, "CheckpointLoader" in second) == (True, False)
    assert "Total Records for Training: 5" in second


def test_a_lost_mlflow_server_loses_no_training_and_no_record(server):
    server.stop()
    server.environment["MONAI_LABEL_TRACKING_URI"] = "http://127.0.0.1:9"
    server.start()
    bundle = (server.app / "model" / HEART).resolve()
    answer = server.train(HEART)
    assert answer.status_code == 200, answer.text + server.said()
    server.wait_for("MLflow cannot be reached")
    client = MlflowClient(f"sqlite:///{bundle / 'eval' / 'mlruns-offline.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name(HEART).experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["train/kl"] > 0
    server.environment["MONAI_LABEL_TRACKING_URI"] = server.store


def test_a_server_killed_in_a_training_serves_the_old_student_again(server, hearts, tmp_path):
    bundle = server.app / "model" / HEART
    before = (bundle / "models" / "model.pt").read_bytes()
    server.infer(HEART, hearts[0], tmp_path / "before.nii.gz")
    edit((bundle / "configs" / "train.yaml").resolve(), epoch_length=20, val_interval=1)
    server.kill()
    server.start()
    log = len(server.log.read_text())
    server.train(HEART, wait=False, max_epochs=200)
    server.wait_for("Epoch[3] Complete", behind=log)
    server.kill()
    assert (bundle / "checkpoints" / "trained.pt").is_file()  # the best so far
    assert (bundle / "models" / "model.pt").read_bytes() == before
    server.start()
    server.infer(HEART, hearts[0], tmp_path / "after.nii.gz")
    assert np.array_equal(pixels(tmp_path / "before.nii.gz"), pixels(tmp_path / "after.nii.gz"))
