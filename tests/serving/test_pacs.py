"""From a real PACS to the server and back: Orthanc, DICOMweb, DICOM segmentations."""

import json
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pytest
import requests
import torch
from filelock import FileLock
from mlflow import MlflowClient
from pydicom import dcmread

from medkd.dicom import read_series
from medkd.infer import infer_study
from medkd.serving import deploy

from ..dicom.conftest import PATIENT, datasets, volume, write
from ..dicom.test_series import _ct, _missing, _turned
from ..helpers import by_dcmqi, free_port, on_the_series
from .conftest import small_copy
from .monai_label import Server

HEART = "confkd_cardiac_mri_segmentation"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    """Orthanc's address and the folder of a series that it holds."""
    if not shutil.which("Orthanc") or not PLUGIN.exists():
        pytest.skip("Orthanc with its DICOMweb plugin is not installed")
    folder = tmp_path_factory.mktemp("orthanc")
    ports = free_port(), free_port()
    settings = {"StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "Plugins": [str(PLUGIN)]}
    settings |= {
        "HttpPort": ports[0],
        "DicomPort": ports[1],
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
    }
    settings["DicomWeb"] = {"Enable": True, "Root": "/dicom-web/"}
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{ports[0]}"
    deadline = time.monotonic() + 60
    while True:
        try:
            requests.get(f"{url}/system", timeout=2).raise_for_status()
            break
        except requests.RequestException:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.3)
    write(folder / "series", datasets(volume()))
    for file in (folder / "series").iterdir():
        requests.post(f"{url}/instances", data=file.read_bytes(), timeout=60).raise_for_status()
    yield url, folder / "series"
    process.kill()
    process.wait()


def without_the_first_class(bundle: Path) -> Path:
    """A student that only ever sees myocardium and left ventricle: the first label of the mask is the bundle's second."""
    path = bundle / "models" / "model.pt"
    content = torch.load(path, weights_only=True)
    *_, last = [
        k for k, v in content["model"].items() if k.startswith("student") and k.endswith("bias") and len(v) == 4
    ]
    weight = content["model"][last.replace("bias", "weight")]
    weight[3] = -weight[2]
    content["model"][last] = torch.tensor([-1e6, -1e6, 0.0, 0.0])
    torch.save(content, path)
    return bundle


@pytest.fixture(scope="module")
def server(label_env, pacs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    deploy(small_copy(HEART, folder / "bundles"), folder / "app", name="heart_segmentation")
    (folder / "second").mkdir()
    deploy(without_the_first_class(small_copy(HEART, folder / "second")), folder / "app", name="no_rv_segmentation")
    environment = {
        "MONAI_LABEL_DICOMWEB_SEARCH_FILTER": '{"Modality": "MR"}',
        "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(folder / "cache"),
    }
    made = Server(label_env, folder / "app", f"{pacs[0]}/dicom-web", folder, **environment)
    yield made.start()
    made.stop()


def uid(series: Path) -> str:
    return str(dcmread(next(series.iterdir())).SeriesInstanceUID)


def test_the_server_s_segmentation_is_that_of_medkd_infer(server, pacs, tmp_path):
    _, series = pacs
    server.infer("heart_segmentation", uid(series), tmp_path / "served.dcm", output="dicom_seg", label_info=[])
    infer_study(server.app / "model" / "heart_segmentation", series, tmp_path / "own.dcm")
    served, own = (by_dcmqi(tmp_path / f"{name}.dcm", tmp_path / name)[0] for name in ("served", "own"))
    assert np.array_equal(on_the_series(served, series), on_the_series(own, series))
    assert len(np.unique(on_the_series(served, series))) > 2


def test_it_refers_to_the_slices_and_names_what_is_there(server, pacs, tmp_path):
    _, series = pacs
    server.infer("no_rv_segmentation", uid(series), tmp_path / "seg.dcm", output="dicom_seg", label_info=[])
    found = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert [s.SegmentLabel for s in found.SegmentSequence] == ["myocardium", "left ventricle"]
    codes = [s.SegmentedPropertyTypeCodeSequence[0].CodeValue for s in found.SegmentSequence]
    assert codes == ["49848007", "87878005"]
    slices = read_series(series).slices
    (referenced,) = found.ReferencedSeriesSequence
    assert {i.ReferencedSOPInstanceUID for i in referenced.ReferencedInstanceSequence} == {
        s.SOPInstanceUID for s in slices
    }


def test_it_goes_back_to_the_pacs(server, pacs, tmp_path):
    url, series = pacs
    server.infer("heart_segmentation", uid(series), tmp_path / "seg.dcm", output="dicom_seg", label_info=[])
    requests.post(f"{url}/instances", data=(tmp_path / "seg.dcm").read_bytes(), timeout=60).raise_for_status()
    study = dcmread(next(series.iterdir())).StudyInstanceUID
    listed = requests.get(f"{url}/dicom-web/studies/{study}/series", timeout=60).json()
    assert sorted(one["00080060"]["Value"][0] for one in listed) == ["MR", "SEG"]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (_missing, "expected slices every 7.50 mm, found 15.00 mm after slice 2 of 4; a slice may be missing"),
        (_turned, "expected one orientation, found 1 of 5 slices in another"),
        (_ct, "expected the modality MR, found CT"),
    ],
)
def test_what_is_no_sound_series_is_refused(server, pacs, tmp_path, break_it, message):
    slices = datasets(volume())
    break_it(slices)
    write(tmp_path / "series", slices)
    for file in (tmp_path / "series").iterdir():
        requests.post(f"{pacs[0]}/instances", data=file.read_bytes(), timeout=60).raise_for_status()
    assert server.infer("heart_segmentation", uid(tmp_path / "series")).status_code == 500
    server.wait_for(message, seconds=10)
    if break_it is not _ct:  # nor does a reader get it to annotate: what lies behind the gap has moved
        image = requests.get(f"{server.url}/datastore/image?image={uid(tmp_path / 'series')}", timeout=60)
        assert image.status_code == 500


def test_half_a_series_in_the_cache_is_not_taken_for_one(server, pacs, tmp_path):
    """Another process of the server is fetching it, and is killed."""
    write(tmp_path / "series", datasets(volume()))
    files = sorted((tmp_path / "series").iterdir())
    for file in files:
        requests.post(f"{pacs[0]}/instances", data=file.read_bytes(), timeout=60).raise_for_status()
    (cache,) = (server.log.parent / "cache").iterdir()
    half = cache / uid(tmp_path / "series")
    with ThreadPoolExecutor() as pool:
        with FileLock(cache / f".{half.name}.lock"):
            half.mkdir()
            for file in files[:3]:
                shutil.copy(file, half)
            answer = pool.submit(server.infer, "heart_segmentation", half.name, tmp_path / "mask.nii.gz")
            time.sleep(1)
            assert not answer.done()
        answer.result()
    assert nib.load(tmp_path / "mask.nii.gz").shape[-1] == len(files) == 5


def test_a_correction_bears_the_names_of_its_values(server, pacs, tmp_path):
    """As a viewer sends them, one for every segment, of which the first is empty: the stock server shifts the names."""
    url, series = pacs
    server.infer("no_rv_segmentation", uid(series), tmp_path / "mask.nii.gz")
    assert set(np.unique(nib.load(tmp_path / "mask.nii.gz").dataobj)) - {0} == {2, 3}
    every = [{"name": name} for name in ("right ventricle", "myocardium", "left ventricle")]
    study = dcmread(next(series.iterdir())).StudyInstanceUID

    def stored():
        listed = requests.get(f"{url}/dicom-web/studies/{study}/series?Modality=SEG", timeout=60).json()
        return {one["0020000E"]["Value"][0] for one in listed}

    for label_info in (every, []):
        before = stored()
        server.put_label(uid(series), tmp_path / "mask.nii.gz", label_info=label_info)
        (new,) = stored() - before
        (found,) = requests.get(f"{url}/dicom-web/studies/{study}/series/{new}/metadata", timeout=60).json()
        segments = [one["00620005"]["Value"][0] for one in found["00620002"]["Value"]]
        assert segments == ["myocardium", "left ventricle"]
    before = stored()
    with pytest.raises(AssertionError, match="label_info: expected the names of the mask's values"):
        server.put_label(uid(series), tmp_path / "mask.nii.gz", label_info=every[:2])
    assert stored() == before


def test_corrections_in_the_pacs_train_the_student(server, pacs, tmp_path):
    _, series = pacs
    server.infer("heart_segmentation", uid(series), tmp_path / "mask.nii.gz")
    found = set(np.unique(nib.load(tmp_path / "mask.nii.gz").dataobj)) - {0}
    names = {value: name for name, value in server.info()["models"]["heart_segmentation"]["labels"].items()}
    info = [{"name": names[int(value)]} for value in sorted(found)]
    server.put_label(uid(series), tmp_path / "mask.nii.gz", label_info=info)
    answer = server.train("heart_segmentation", val_split=0)
    assert answer.status_code == 200, answer.text + server.said()
    client = MlflowClient(server.store)
    experiment = client.get_experiment_by_name("heart_segmentation")
    assert experiment is not None, server.said()
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    # Nobody learned whose heart it is: neither logs, nor MLflow's store and artefacts, nor configurations and data lists.
    # The server's cache of the PACS alone knows; where in it a series lies is said in the executed configuration alone.
    places = [path for path in server.log.parent.rglob("*") if path.is_file() and path.suffix != ".pt"]
    places = [path for path in places if server.log.parent / "cache" not in path.parents]
    assert {"server.log", "mlruns.db", "train.yaml"} <= {path.name for path in places}
    for value in PATIENT.values():
        assert [path for path in places if value.encode() in path.read_bytes()] == []
    uids = [uid(series), str(dcmread(next(series.iterdir())).StudyInstanceUID)]
    places = [path for path in places if not (path.name.startswith("config_") and path.suffix == ".json")]
    assert [path for path in places if any(one.encode() in path.read_bytes() for one in uids)] == []
