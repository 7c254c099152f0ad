"""The commands of docs/how-to/monai-label.md, one after the other, as a reader types them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from medkd.datasets import make_cardiac_phantoms

from ..dicom.conftest import datasets, volume, write
from .conftest import edit, small_copy
from .monai_label import Server

HEART = "heart"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "monai-label.md"


def blocks() -> list[list[str]]:
    """The commands of each of the page's blocks."""
    found = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [block.strip().splitlines() for block in found]


@pytest.fixture
def desk(label_env, tmp_path, monkeypatch):
    """A reader's folder: a trained bundle, a study, its corrected mask, a DICOM study, and the server's environment."""
    make_cardiac_phantoms(tmp_path / "data", strong=1, weak=0, validation=1, test=1, size=64, slices=3)
    (tmp_path / "STUDIES").mkdir()
    image = min((tmp_path / "data" / "images").iterdir())
    shutil.copy(image, tmp_path / "STUDIES" / "patient001.nii.gz")
    shutil.copy(tmp_path / "data" / "labels" / image.name, tmp_path / "corrected.nii.gz")
    write(tmp_path / "STUDY_FOLDER", datasets(volume()))
    bundle = small_copy("confkd_cardiac_mri_segmentation", tmp_path).rename(tmp_path / "heart")
    edit(bundle / "configs" / "train.yaml", epoch_length=1)
    (tmp_path / "SERVER").symlink_to(label_env.parent.parent)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_from_a_trained_bundle_to_a_served_and_retrained_one(desk, label_env):
    server = Server(label_env, desk / "APP", desk / "STUDIES", desk, MONAI_LABEL_AUTO_UPDATE_SCORING="true")
    typed = [
        command.replace(":8000", f":{server.port}").replace("port 8000", f"port {server.port}")
        for command in blocks()[0]
    ]
    assert len(typed) < 10
    before = (desk / HEART / "models" / "model.pt").read_bytes()
    try:
        for command in typed:
            if "start_server" in command:
                server.launch(["bash", "-c", command])
            else:
                done = subprocess.run(["bash", "-ec", command], cwd=desk, capture_output=True, text=True)
                assert done.returncode == 0, f"{command}: {done.stderr}{server.log.exists() and server.said()}"
        server.wait_for_training()
        trainer = server.info()["trainers"][HEART]
    finally:
        server.stop()
    assert (desk / "mask.nii.gz").stat().st_size > 0
    version = desk / "APP" / "model" / ".versions" / HEART / trainer["promotion"]["version"]
    assert torch.load(version / "models" / "model.pt", weights_only=True)["model"]
    assert (version / "models" / "model.pt").read_bytes() != before
    assert (trainer["promotion"]["promoted"], trainer["served"]) == (False, "0001"), trainer["promotion"]["reason"]
    client = MlflowClient(server.store)
    (run,) = client.search_runs([client.get_experiment_by_name(HEART).experiment_id])
    assert (run.info.status, run.data.metrics["train/kl"] > 0) == ("FINISHED", True)


def test_a_study_without_a_server(desk):
    (command,) = [line for block in blocks() for line in block if line.startswith("medkd infer")]
    done = subprocess.run(["bash", "-ec", command], cwd=desk, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (desk / "seg.dcm").is_file()
