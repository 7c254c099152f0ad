"""What a request may say to a real server with medkd's own app, and which pages may send it."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests

import medkd
from medkd.datasets import make_cardiac_phantoms
from medkd.files import sha256
from medkd.serving import deploy

from .conftest import small_copy
from .monai_label import Server

TIMES = int(os.environ.get("MEDKD_FAULTS", "1"))
HEART = "confkd_cardiac_mri_segmentation"
# As files come from a clinic: a name, a number, a date of birth, the identifiers of a study and of its series.
PATIENT = ["Doe^Jane", "PID0815", "19551231", "1.2.826.0.1.3680043.8.498.17", "1.2.826.0.1.3680043.8.498.18.1"]
NAMES = [f"{PATIENT[0]}_{PATIENT[1]}", f"{PATIENT[0]} {PATIENT[2]}", *PATIENT[3:]]


@pytest.fixture(scope="module")
def server(label_env, tmp_path_factory):
    folder = tmp_path_factory.mktemp("requests")
    make_cardiac_phantoms(folder / "heart", strong=2, weak=0, validation=1, test=1, size=64, slices=3)
    (folder / "studies").mkdir()
    for number, image in enumerate(sorted((folder / "heart" / "images").iterdir())):
        shutil.copy(image, folder / "studies" / f"{NAMES[number]}.nii.gz")
    deploy(small_copy(HEART, folder / "bundles"), folder / "app")
    made = Server(label_env, folder / "app", folder / "studies", folder).start()
    for number, label in enumerate(sorted((folder / "heart" / "labels").iterdir())):
        made.put_label(NAMES[number], label)
    yield made
    made.stop()


@pytest.fixture
def study(server):
    return NAMES[0]


def train(server, **params):
    small = {"max_epochs": 1, "device": "cpu", "val_split": 0.34, "multi_gpu": False}
    where = f"{server.url}/train/{HEART}?run_sync=true"
    return requests.post(where, json={**small, **params}, timeout=300)


def component(value):
    """The same without a ``$``: what MONAI makes of a ``_target_``."""
    return {"_target_": "os.mkdir", "path": value.split("'")[3]}


def everyone(path, inner):
    """A request to all models or methods at once."""

    def send(server, value):
        return requests.post(f"{server.url}/{path}/?run_sync=true", json={inner: {"device": value}}, timeout=300)

    return send


def infer(server, **params):
    return server.infer(HEART, NAMES[0], **{"device": "cpu", **params})


def region(server, value):
    wsi = {"location": [0, 0], "size": [64, 64], "params": {"device": "cpu", "result_dtype": value}}
    where = f"{server.url}/infer/wsi_v2/{HEART}?image={NAMES[0]}&output=asap"
    return requests.post(where, data={"wsi": json.dumps(wsi)}, timeout=300)


def batch(server, value):
    where = f"{server.url}/batch/infer/{HEART}?run_sync=true"
    return requests.post(where, json={"device": value, "multi_gpu": False, "max_workers": 1}, timeout=300)


def score(server, value):
    where = f"{server.url}/scoring/{HEART}_entropy?run_sync=true"
    return requests.post(where, json={"device": value}, timeout=300)


def next_study(server, value):
    where = f"{server.url}/activelearning/least_certain"
    return requests.post(where, json={"model": HEART, "label_tag": value}, timeout=300)


HOSTILE = {
    "train: max_epochs": ("max_epochs", lambda s, v: train(s, max_epochs=v)),
    "train: device": ("device", lambda s, v: train(s, device=v)),
    "train: val_split": ("val_split", lambda s, v: train(s, val_split=v)),
    "train: gpus": ("gpus", lambda s, v: train(s, gpus=v)),
    "train: run_id": ("run_id", lambda s, v: train(s, run_id=v)),
    "train: tracking": ("tracking", lambda s, v: train(s, tracking=v)),
    "train: tracking_uri": ("tracking_uri", lambda s, v: train(s, tracking_uri=v)),
    "train: tracking_run_name": ("tracking_run_name", lambda s, v: train(s, tracking_run_name=v)),
    "train: tracking_experiment_name": (
        "tracking_experiment_name",
        lambda s, v: train(s, tracking_experiment_name=v),
    ),
    "train: unknown key": ("learning_rate", lambda s, v: train(s, learning_rate=v)),
    "train: component": ("max_epochs", lambda s, v: train(s, max_epochs=component(v))),
    "train: every model": ("device", everyone("train", HEART)),
    "infer: device": ("device", lambda s, v: infer(s, device=v)),
    "infer: result_dtype": ("result_dtype", lambda s, v: infer(s, result_dtype=v)),
    "infer: in a list": ("label_info", lambda s, v: infer(s, label_info=[{"name": v}])),
    "infer: as a key": ("label_info", lambda s, v: infer(s, label_info=[{v: 1}])),
    "infer/wsi: result_dtype": ("result_dtype", region),
    "batch/infer: device": ("device", batch),
    "scoring: device": ("device", score),
    "scoring: every method": ("device", everyone("scoring", f"{HEART}_entropy")),
    "activelearning: label_tag": ("label_tag", next_study),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_code_in_a_request_is_refused_and_not_run(server, tmp_path, name):
    key, send = HOSTILE[name]
    canary = tmp_path / "canary"
    before = server.info()["trainers"][HEART]["config"], server.info()["models"][HEART]["config"]
    answer = send(server, f"$__import__('pathlib').Path({str(canary)!r}).touch()")
    assert not canary.exists(), f"{answer.status_code}: the code ran"
    assert 400 <= answer.status_code < 500, f"{answer.status_code}: {answer.text}"
    assert answer.json()["detail"].startswith(f"{key}: expected")
    assert (server.info()["trainers"][HEART]["config"], server.info()["models"][HEART]["config"]) == before


def test_an_image_is_one_name(server, tmp_path):
    """A list would not be looked up among the studies: its files would be read wherever they lie."""
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 3), np.float32), np.eye(4)), tmp_path / "other.nii.gz")
    data = {"params": json.dumps({"image": [str(tmp_path / "other.nii.gz")]})}
    answer = requests.post(f"{server.url}/infer/{HEART}?image=phantom001&output=image", data=data, timeout=300)
    assert (answer.status_code, answer.json()["detail"].partition(":")[0]) == (400, "image")


def test_a_server_that_was_attacked_still_works(server, study, tmp_path):
    server.infer(HEART, study, tmp_path / "mask.nii.gz")
    assert not (server.app / "mlruns.db").exists()


def test_what_slicer_sends_is_answered(server, study):
    """Its options are those of GET /info, the first of a list; it adds its own name."""
    info = server.info()

    def options(section):
        return {k: v[0] if isinstance(v, list) else v for k, v in info[section][HEART]["config"].items()}

    slicer = {"client_id": "user-xyz", "result_extension": ".nrrd", "result_dtype": "uint8"}
    assert server.infer(HEART, study, output="all", **{**options("models"), **slicer}).status_code == 200
    answer = train(server, **{**options("trainers"), "max_epochs": 1, "client_id": None})
    assert answer.status_code == 200, answer.text + server.said()
    assert not [key for key in info["trainers"][HEART]["config"] if key.startswith("tracking") or key == "run_id"]
    where = f"{server.url}/activelearning/random"
    assert requests.post(where, json={"client_id": "user-xyz"}, timeout=60).status_code == 200


def test_what_ohif_sends_is_answered(server, study):
    options = {"result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": False}
    answer = server.infer(HEART, study, device="cpu", restore_label_idx=False, **options)
    assert answer.status_code == 200, answer.text
    assert requests.post(f"{server.url}/activelearning/random", json={}, timeout=60).status_code == 200
    every = {HEART: {"max_epochs": 1, "device": "cpu", "val_split": 0.34, "multi_gpu": False}}
    answer = requests.post(f"{server.url}/train/?run_sync=true", json=every, timeout=300)
    assert answer.status_code == 200, answer.text + server.said()


def test_what_qupath_sends_passes_the_check(server, study):
    clicks = {"foreground": [], "background": [[3, 4]], "max_workers": 1}
    region = {"level": 0, "location": [0, 0], "size": [0, 0], "tile_size": [1024, 1024], "min_poly_area": 30}
    where = f"{server.url}/infer/wsi/{HEART}?image={study}&output=json"
    answer = requests.post(where, json={**region, "params": clicks}, timeout=300)
    assert answer.status_code == 200, answer.text + server.said()  # a volume is no slide: it is segmented as it is
    patch = {"image": "", "patch_size": [128, 128], "image_size": [0, 0]}
    assert requests.post(f"{server.url}/activelearning/random", json=patch, timeout=60).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1.evil.example"}, 403),
        ({"Origin": "http://evil.example:{port}", "Host": "evil.example:{port}"}, 403),
        ({"Host": "evil.example:{port}"}, 403),
        ({"Host": "[evil"}, 403),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "http://10.1.2.3:{port}", "Host": "10.1.2.3:{port}"}, 200),
        ({}, 200),
    ],
)
def test_pages_of_other_sites_cannot_send_requests(server, headers, status):
    headers = {name: value.format(port=server.port) for name, value in headers.items()}
    simple = {**headers, "Content-Type": "application/x-www-form-urlencoded"}  # for which a browser does not ask before
    assert requests.get(f"{server.url}/info/", headers=headers, timeout=60).status_code == status
    answer = requests.post(f"{server.url}/activelearning/random", headers=simple, timeout=60)
    assert answer.status_code == status, answer.text
    allowed = answer.headers.get("Access-Control-Allow-Origin")
    assert allowed == (headers.get("Origin") if "Origin" in headers and "10.1" not in headers["Origin"] else None) or (
        status == 403 and allowed is None
    )


def test_a_browser_asks_before_and_is_told_no(server):
    ask = {"Origin": "http://evil.example", "Access-Control-Request-Method": "DELETE"}
    answer = requests.options(f"{server.url}/train/", headers=ask, timeout=60)
    assert (answer.status_code, answer.headers.get("Access-Control-Allow-Origin")) == (403, None)
    answer = requests.options(f"{server.url}/train/", headers={**ask, "Origin": "http://localhost:3000"}, timeout=60)
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"


def test_weights_are_not_uploaded_past_the_checks(server):
    weights = server.app / "model" / HEART / "models" / "model.pt"
    before = weights.read_bytes()
    answer = requests.put(f"{server.url}/model/{HEART}", files={"file": ("model.pt", b"other")}, timeout=60)
    assert (answer.status_code, weights.read_bytes() == before) == (403, True)
    assert requests.delete(f"{server.url}/model/{HEART}", timeout=60).status_code == 403
    assert weights.is_file()


def test_an_archive_is_not_unpacked_over_what_is_served(server, tmp_path):
    """Its members may name any place of the machine; the stock server would write there."""
    weights = server.app / "model" / HEART / "models" / "model.pt"
    before, archive = weights.read_bytes(), tmp_path / "study.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo(str(weights))
        member.size = 5
        tar.addfile(member, io.BytesIO(b"other"))
    for word in ("true", "1", "on"):
        with archive.open("rb") as file:
            sent = {"files": ("study.tar", file)}
            answer = requests.put(f"{server.url}/session/?uncompress={word}", files=sent, timeout=60)
        assert (answer.status_code, weights.read_bytes() == before) == (403, True)
    with archive.open("rb") as file:
        answer = requests.put(f"{server.url}/session/?uncompress=false", files={"files": ("a.tar", file)}, timeout=60)
    assert (answer.status_code, weights.read_bytes() == before) == (200, True)


def test_the_proxy_does_not_leave_the_pacs_s_part(server):
    for path in ("/proxy/dicom/%2e%2e/tools", "/proxy/dicom/%252e%252e/tools"):
        request = requests.Request("GET", server.url).prepare()
        request.url = server.url + path
        assert requests.Session().send(request, timeout=60).status_code == 400


def test_an_upload_does_not_replace_a_study(server, study, tmp_path):
    """The stock server would take the file in its place, and forget the labels that were drawn on it."""
    shutil.copy(server.log.parent / "studies" / f"{NAMES[1]}.nii.gz", tmp_path / "other.nii.gz")

    def upload(path):
        with path.open("rb") as file:
            return requests.put(f"{server.url}/datastore/image?image={study}", files={"file": file}, timeout=60)

    image = server.log.parent / "studies" / f"{study}.nii.gz"
    before = image.read_bytes()
    answer = upload(tmp_path / "other.nii.gz")
    assert (answer.status_code, image.read_bytes() == before) == (409, True)
    assert answer.json()["detail"] == "image_id: expected a new name, found that of another study"
    assert upload(image).json() == {"image": study}  # the same once more is nothing new
    label = requests.get(f"{server.url}/datastore/label?label={study}&tag=final", timeout=60)
    assert (label.status_code, image.read_bytes() == before) == (200, True)


def test_random_requests_do_no_harm(server, study, tmp_path):
    """What the OpenAPI page allows and what it does not, by Schemathesis; MONAI Label itself answers some of it with 500."""
    kept, mask, said = contents(server.log.parent), tmp_path / "mask.nii.gz", len(server.log.read_text())
    server.infer(HEART, study, mask)
    known = {"path.model": HEART, "path.strategy": "random", "image": study}
    (tmp_path / "schemathesis.toml").write_text(
        "[parameters]\n" + "".join(f'"{key}" = "{value}"\n' for key, value in known.items())
    )
    for options in (["--phases", "coverage"], ["--phases", "fuzzing", "--max-examples", str(4 * TIMES)]):
        command = [Path(sys.executable).with_name("schemathesis"), "run", f"{server.url}/openapi.json", *options]
        # Trainings and batches take a model of their own for each request.
        command += ["--exclude-path-regex", "^/(train|batch|scoring)/", "--seed", "0", "--continue-on-failure"]
        command += ["--checks", "not_a_server_error", "--generation-database", "none", "--no-color"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        generated = re.search(r"(\d+) generated", done.stdout)
        assert generated, done.stdout + done.stderr
        assert int(generated[1]) > 50
    again = tmp_path / "again.nii.gz"
    server.infer(HEART, study, again)
    assert np.array_equal(nib.load(mask).get_fdata(), nib.load(again).get_fdata())
    now = contents(server.log.parent)
    assert {path: now.get(path) for path in kept} == kept
    assert [path for path in now.keys() - kept.keys() if path.parent.name != "studies"] == []  # where uploads belong
    assert list(crashes(server.log.read_text()[said:])) == []


def test_neither_mlflow_nor_the_log_learns_whose_heart_it_is(server, study):
    """After all requests above, and a training in the background, whose output the server logs."""
    server.train(HEART, wait=False)
    server.wait_for_training()
    stores = [path for path in server.log.parent.rglob("*") if path.is_file() and "mlruns" in str(path)]
    assert {path.suffix for path in stores} >= {".db", ".json", ".png", ".pt", ".txt", ".yaml"}
    logs = [server.log, server.app / "logs" / "app.log"]
    for path in [*stores, *logs]:
        content = path.read_bytes()
        assert [value for value in PATIENT if value.encode() in content] == [], path
    assert "study-" in server.log.read_text()  # but who reads the log can tell one from another


def contents(folder):
    """Of every file that no request may change: studies too, but neither their labels nor the list of both."""
    own = {"labels", "logs", "mlruns"}
    files = [path for path in folder.rglob("*") if path.is_file() and not own & {*path.parts}]
    changing = ("datastore_v2.json", "server.log", "app.log")
    return {
        path: sha256(path)
        for path in files
        if path.name not in changing and path.suffix not in (".pyc", ".db", ".lock")
    }


def crashes(log):
    """The tracebacks of a log that end in medkd, but for what it says of an image that it cannot segment."""
    for part in log.split("Traceback (most recent call last)")[1:]:
        *_, place = re.findall(r'File "([^"]+)", line', part)
        error = re.search(r"^\w.*", part, flags=re.MULTILINE)  # the first line that is not indented
        refused = error and re.match(r"ValueError: .*: expected .*, found ", error[0])
        if Path(place).is_relative_to(Path(medkd.__file__).parent) and not refused:
            yield part
