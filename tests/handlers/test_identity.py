"""What a run says it was made of, in a real store."""

import hashlib
import json
import os
import re
import time
from importlib import metadata
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from medkd.handlers.identified import Identified
from medkd.handlers.identity import log_files, log_identity
from medkd.handlers.surroundings import hardware, packages


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    return MlflowClient(f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlruns.db'}")


@pytest.fixture
def run(client, request):
    """The id of a run in an experiment of its own."""
    place = (Path(client.tracking_uri.removeprefix("sqlite:///")).parent / "mlruns").as_uri()
    return client.create_run(client.create_experiment(request.node.name, place)).info.run_id


def dataset(folder, **more):
    """Two patients to train on, one to validate on, two to test on."""
    folder.mkdir(parents=True)
    datalist = {}
    for section, patients in {"training": "ab", "validation": "c", "test": "de"}.items():
        datalist[section] = []
        for patient in patients:
            for kind in ("image", "label"):
                (folder / f"{patient}_{kind}.bin").write_text(f"{patient} {kind}")
            datalist[section].append(
                {"image": f"{patient}_image.bin", "label": f"{patient}_label.bin", "patient": patient}
            )
    (folder / "datalist.json").write_text(json.dumps(datalist | more))
    return folder


def config(folder, **content):
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return path


def inputs(client, run):
    """By section: name, digest, profile and source of every dataset of a run."""
    return {
        tag.value: (one.dataset.name, one.dataset.digest, json.loads(one.dataset.profile), one.dataset.source)
        for one in client.get_run(run).inputs.dataset_inputs
        for tag in one.tags
        if tag.key == "mlflow.data.context"
    }


def tags(client, run):
    return client.get_run(run).data.tags


def test_a_training_reads_two_sections(client, run, tmp_path):
    data, file = dataset(tmp_path / "hearts"), config(tmp_path, seed=1)
    log_identity(client, run, config_file=file, dataset_dir=data)
    found, told = inputs(client, run), tags(client, run)
    assert set(found) == {"training", "validation"}
    name, digest, profile, source = found["training"]
    assert (name, profile) == ("hearts/training", {"images": 2, "patients": 2, "strong": 2})
    assert json.loads(source) == {"uri": str(data)}
    hashes = [
        [hashlib.sha256((data / f"{p}_{k}.bin").read_bytes()).hexdigest() for k in ("image", "label")] for p in "ab"
    ]
    listed = json.dumps([{"image": image, "label": label} for image, label in hashes], sort_keys=True)
    assert digest == told["medkd.digest.training"] == hashlib.sha256(listed.encode()).hexdigest()[:32]
    assert told["medkd.sha256.config"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (told["medkd.patient_overlap"], told["medkd.image_overlap"]) == ("0", "0")
    assert told["mlflow.user"]
    assert told["mlflow.source.type"] == "LOCAL"


def test_an_evaluation_adds_its_section_and_says_so_of_its_own_configuration(client, run, tmp_path):
    data = dataset(tmp_path / "hearts")
    log_identity(client, run, config_file=config(tmp_path, seed=1), dataset_dir=data)
    before = tags(client, run)
    file = config(tmp_path, split="test")
    log_identity(client, run, config_file=file, dataset_dir=data, scored="test", split="test")
    found, told = inputs(client, run), tags(client, run)
    assert set(found) == {"training", "validation", "test"}
    assert len({digest for _, digest, *_ in found.values()}) == 3
    assert told["medkd.digest.test"] == found["test"][1]
    assert told["medkd.sha256.test_config"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert {key: told[key] for key in before} == before
    assert {artifact.path for artifact in client.list_artifacts(run)} == {"environment.txt", "test_environment.txt"}


def test_another_folder_is_the_same_data_and_another_byte_is_not(client, run, tmp_path, request):
    first, file = dataset(tmp_path / "first"), config(tmp_path)
    log_identity(client, run, config_file=file, dataset_dir=first)
    moved = client.create_run(client.get_run(run).info.experiment_id).info.run_id
    log_identity(client, moved, config_file=file, dataset_dir=dataset(tmp_path / "a" / "second"))
    changed = client.create_run(client.get_run(run).info.experiment_id).info.run_id
    time.sleep(0.02)
    (first / "b_label.bin").write_text("b labeL")
    log_identity(client, changed, config_file=file, dataset_dir=first)
    digests = [tags(client, one)["medkd.digest.training"] for one in (run, moved, changed)]
    assert digests[0] == digests[1] != digests[2]
    validations = {tags(client, one)["medkd.digest.validation"] for one in (run, moved, changed)}
    assert len(validations) == 1


def test_patients_and_images_that_both_know_are_stated(client, run, tmp_path):
    data = dataset(tmp_path / "hearts")
    datalist = json.loads((data / "datalist.json").read_text())
    datalist["test"][0]["seen"] = True
    (data / "datalist.json").write_text(json.dumps(datalist))
    (data / "e_image.bin").write_bytes((data / "a_image.bin").read_bytes())
    log_identity(client, run, config_file=config(tmp_path), dataset_dir=data)
    assert tags(client, run)["medkd.patient_overlap"] == "1 of 2 test patients are in training or validation"
    assert tags(client, run)["medkd.image_overlap"] == "1 of 2 test images are in training or validation, byte for byte"


def test_what_is_anonymous_names_no_place(client, run, tmp_path):
    data = dataset(tmp_path / "Doe^Jane")
    log_identity(client, run, config_file=config(tmp_path), dataset_dir=data, anonymous=True)
    assert inputs(client, run)["training"][0] == "dataset/training"
    assert "Doe" not in str(inputs(client, run)) + str(tags(client, run))


def test_studies_of_a_server_are_the_data(client, run, tmp_path):
    """It writes them into the configuration; a datalist that lies in the bundle is not what is read."""
    data, other = dataset(tmp_path / "hearts"), dataset(tmp_path / "old")
    items = [{"image": str(data / "d_image.bin"), "label": str(data / "d_label.bin")}]
    file = config(tmp_path, train={"dataset": {"data": items}}, validate={"dataset": {"data": []}})
    log_identity(client, run, config_file=file, dataset_dir=other)
    assert {section: profile["images"] for section, (_, _, profile, _) in inputs(client, run).items()} == {
        "training": 1
    }


def test_a_dataset_that_is_not_there_is_not_identified_and_that_is_told(client, run, tmp_path, caplog):
    log_identity(client, run, config_file=config(tmp_path), dataset_dir=tmp_path / "none")
    assert "not identified in MLflow" in caplog.text
    assert inputs(client, run) == {}
    assert "medkd.sha256.config" in tags(client, run)


def test_the_handlers_of_a_run_log_it_once(client, run, tmp_path):
    data, file, calls = dataset(tmp_path / "hearts"), config(tmp_path), []

    class Counting:
        def __getattr__(self, name):
            calls.append(name)
            return getattr(client, name)

    identity = Identified(dataset_dir=str(data), teacher=str(data / "datalist.json"))
    for closes in (False, True, True):
        identity.begin(Counting(), run, config_file=str(file), scored=None, closes=closes, anonymous=False)
    assert calls.count("log_inputs") == 1
    assert len(client.get_run(run).inputs.dataset_inputs) == 2
    expected = hashlib.sha256((data / "datalist.json").read_bytes()).hexdigest()
    assert tags(client, run)["medkd.sha256.teacher"] == expected


def test_files_and_folders_are_known_by_their_bytes(client, run, tmp_path):
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "a.npz").write_text("a")
    (tmp_path / "model.pt").write_text("weights")
    files = {
        "student": tmp_path / "model.pt",
        "teacher": tmp_path / "predictions",
        "other": tmp_path / "none",
        "no": None,
    }
    log_files(client, run, files)
    log_files(client, run, {"student": tmp_path / "model.pt"}, scored="test")
    found = {key: value for key, value in tags(client, run).items() if key.startswith("medkd.sha256")}
    assert set(found) == {f"medkd.sha256.{name}" for name in ("student", "teacher", "test_student")}
    assert found["medkd.sha256.student"] == hashlib.sha256(b"weights").hexdigest() == found["medkd.sha256.test_student"]
    (tmp_path / "predictions" / "a.npz").write_text("b")
    log_files(client, run, files)
    assert tags(client, run)["medkd.sha256.teacher"] != found["medkd.sha256.teacher"]


def test_the_environment_is_left_in_the_run_and_beside_its_configuration(client, run, tmp_path):
    log_identity(client, run, config_file=config(tmp_path), dataset_dir=dataset(tmp_path / "hearts"))
    (artifact,) = client.list_artifacts(run)
    logged = Path(client.download_artifacts(run, artifact.path, str(tmp_path / "."))).read_text()
    assert artifact.path == "environment.txt"
    assert f"torch=={metadata.version('torch')}\n" in logged


def test_packages_are_those_that_pip_lists():
    lines = packages().splitlines()
    assert lines == sorted(lines, key=lambda line: re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower())
    for name in ("medkd", "monai", "SimpleITK", "pytorch-ignite"):
        (line,) = [one for one in lines if one.lower().startswith(f"{name.lower()}==")]
        assert line.partition("==")[2] == metadata.version(name)


def test_the_machine_is_described():
    found = hardware()
    assert set(found) == {"cpu", "cores", "memory", "gpu"}
    assert 1 <= int(found["cores"]) <= os.cpu_count()
    assert float(found["memory"].split()[0]) == pytest.approx(psutil.virtual_memory().total / 1024**3, abs=0.1)
    assert found["cpu"]
