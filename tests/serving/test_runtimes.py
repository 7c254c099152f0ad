"""An exported student in a real server: the masks of PyTorch, by what was exported, until it is trained again."""

import json
import shutil

import nibabel as nib
import numpy as np
import onnx
import pytest
import yaml

from medkd.cli import main
from medkd.serving import deploy, keep_student

from ..helpers import run_bundle
from ..listener import listening, told
from ..travelling import otherwise_trained
from .monai_label import Server
from .test_place import retrained

RUNTIMES = {"by_onnx": "onnx", "by_openvino": "openvino"}


@pytest.fixture(scope="module")
def heart(tmp_path_factory):
    """A student in 2D, and its ONNX file."""
    bundle = otherwise_trained(tmp_path_factory.mktemp("exported"), 2)
    images = str(bundle.parent / "data" / "images")
    assert main(["export", str(bundle), "--format", "onnx", "--images", images]) == 0
    return bundle


@pytest.fixture(scope="module")
def server(label_env, heart, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtimes")
    for name, runtime in {**RUNTIMES, "replaced": "onnx"}.items():
        deploy(heart, folder / "app", name=name, runtime=runtime)
    made = Server(label_env, folder / "app", heart.parent / "data" / "images", folder, **listening(folder))
    yield made.start()
    made.stop()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", RUNTIMES)
def test_the_server_s_masks_are_those_of_pytorch(server, heart, tmp_path, name):
    study = min((heart.parent / "data" / "images").glob("*.nii.gz"))
    server.infer(name, study.name.removesuffix(".nii.gz"), tmp_path / "served.nii.gz", device="cpu")
    run_bundle([heart / "configs" / "inference.yaml"], dataset_dir=study, output_dir=tmp_path / "own", amp="false")
    own, served = nib.load(next((tmp_path / "own").iterdir())), nib.load(tmp_path / "served.nii.gz")
    assert (np.asarray(served.dataobj).squeeze() == np.asarray(own.dataobj)).mean() > 0.999


def test_it_is_the_exported_file_that_answers(server, heart):
    """One of another student, put in its place, is refused."""
    file = server.app / "model" / "replaced" / "models" / "model.onnx"
    model = onnx.load(file)
    model.metadata_props[0].value = json.dumps({"student_sha256": "another"})
    onnx.save(model, file)
    study = min((heart.parent / "data" / "images").glob("*.nii.gz")).name.removesuffix(".nii.gz")
    assert server.infer("replaced", study, device="cpu").status_code == 500
    server.wait_for("as it is now, found a network of another student")


@pytest.mark.filterwarnings("ignore")
def test_what_is_served_says_what_runs_it(heart, tmp_path, capsys):
    assert main(["deploy", str(heart), str(tmp_path / "app"), "--runtime", "onnx"]) == 0
    place = tmp_path / "app" / "model" / "heart"
    assert yaml.safe_load((place / "configs" / "inference.yaml").read_text())["runtime"] == "onnx"
    assert (place / "models" / "model.onnx").read_bytes() == (heart / "models" / "model.onnx").read_bytes()
    version = keep_student(place, retrained(heart, tmp_path))
    assert yaml.safe_load((version / "configs" / "inference.yaml").read_text())["runtime"] == "pytorch"
    assert not (version / "models" / "model.onnx").exists()


@pytest.mark.filterwarnings("ignore")
def test_a_configuration_that_cannot_say_it_is_refused(heart, tmp_path):
    """Of an earlier version, or by others: the server would run PyTorch, and nobody would know."""
    old = shutil.copytree(heart, tmp_path / "old")
    config = old / "configs" / "inference.yaml"
    lines = config.read_text().splitlines(keepends=True)
    plain = [line for line in lines if not line.startswith(("runtime:", "precision:", "network:"))]
    config.write_text("".join(plain).replace("network: '@network'", "network: '@network_def'"))
    with pytest.raises(ValueError, match=r"expected the key runtime in inference\.yaml, found none"):
        deploy(old, tmp_path / "app", runtime="onnx")
    assert deploy(old, tmp_path / "app").path.is_dir()


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_run_is_not_served(heart, tmp_path):
    for how, problem in (
        ({"runtime": "torchscript"}, r"served:\n  - \S+model\.ts: expected the exported student, found nothing .* makes it$"),
        ({"runtime": "onnx", "link": True}, "runtime: expected onnx in the configs/inference.yaml that is linked to, found"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=problem):
            deploy(heart, tmp_path / "app", **how)
    assert not (tmp_path / "app" / "model" / "heart").exists()


def test_nobody_is_told_what_a_server_runs(server, heart):
    study = min((heart.parent / "data" / "images").glob("*.nii.gz")).name.removesuffix(".nii.gz")
    assert server.infer("by_openvino", study, device="cpu").status_code == 200
    assert told(server.environment) == set()
