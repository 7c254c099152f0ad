"""A training on a real server makes a new version; the better student is served, and the one before can be had back."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import requests

from medkd.cli import main

from .conftest import edit, labelled_hearts, small_copy
from .test_server import pixels

PROXY = "label.hospital.example"
HEART = "confkd_cardiac_mri_segmentation"


@pytest.fixture(scope="module")
def server(label_env, tmp_path_factory):
    folder = tmp_path_factory.mktemp("promotion")
    bundle = small_copy(HEART, folder / "bundles")
    edit(bundle / "configs" / "train.yaml", epoch_length=6, learning_rate=0.01)
    made = labelled_hearts(label_env, folder, bundle)
    yield made
    made.stop()


@pytest.fixture
def mask(server, tmp_path):
    """The server's mask of a study."""
    study = min(Path(server.studies).glob("phantom*.nii.gz")).name.removesuffix(".nii.gz")

    def answer():
        server.infer(HEART, study, tmp_path / "mask.nii.gz", device="cpu")
        return pixels(tmp_path / "mask.nii.gz")

    return answer


def trained(server, **params):
    """What `GET /info` says of a training, and which version is served."""
    answer = server.train(HEART, **params)
    assert answer.status_code == 200, answer.text + server.said()
    info = server.info()["trainers"][HEART]
    return info["promotion"], info["served"]


def test_the_better_student_is_served_and_the_first_can_be_had_back(server, mask):
    first = mask()
    weights = {v: (server.app / "model" / ".versions" / HEART / v / "models" / "model.pt") for v in ("0001", "0002")}
    before = weights["0001"].read_bytes()

    better, served = trained(server, max_epochs=12)
    assert (better["promoted"], better["version"], better["present"], served) == (True, "0002", "0001", "0002")
    assert (better["metric"], better["score"] > better["present_score"]) == ("val_mean_dice", True)
    assert weights["0001"].read_bytes() == before != weights["0002"].read_bytes()
    second = mask()
    assert not np.array_equal(first, second)

    worse, served = trained(server, pretrained=False)
    assert (worse["promoted"], worse["version"], worse["present"], served) == (False, "0003", "0002", "0002")
    assert worse["score"] <= worse["present_score"] == pytest.approx(better["score"])
    assert "does not score higher" in worse["reason"]
    server.wait_for(f"{HEART}: version 0003: {{'promoted': False")
    assert np.array_equal(mask(), second)

    assert main(["deploy", HEART, str(server.app), "--rollback"]) == 0
    assert np.array_equal(mask(), first)
    assert server.info()["trainers"][HEART]["served"] == "0001"


def test_without_validation_data_nothing_is_better(server, mask):
    before = mask()
    decision, served = trained(server, val_split=0)
    assert (decision["promoted"], served) == (False, "0001")
    assert decision["reason"] == "there are no validation data to compare it on"
    assert np.array_equal(mask(), before)


def test_always_means_without_validation_data_too(server):
    place = server.app / "model" / "folder"
    shutil.copytree(server.app / "model" / HEART, place)
    server.stop()
    server.start("--conf", "promote", "always", "--conf", "origins", f"https://{PROXY}/,https://other.example")
    decision, served = trained(server, val_split=0)
    assert (decision["promoted"], decision["version"] == served) == (True, True)
    assert server.train("folder").status_code == 500  # has no versions
    server.wait_for("folder: expected a deployed bundle, found none")


def test_the_names_that_a_proxy_has_are_a_setting(server):
    """Of the server that the test before has started."""
    for host, origin, status in ((PROXY, f"https://{PROXY}", 200), (PROXY, f"http://{PROXY}.evil", 403)):
        answer = requests.get(f"{server.url}/info/", headers={"Host": host, "Origin": origin}, timeout=60)
        allowed = answer.headers.get("Access-Control-Allow-Origin")
        assert (answer.status_code, allowed) == (status, origin if status == 200 else None)
