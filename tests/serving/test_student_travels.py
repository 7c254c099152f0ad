"""Students of other classes, spacing, patches and dimensions than their bundle's, in a real server, without a word."""

import nibabel as nib
import numpy as np
import pytest

from medkd.serving import deploy

from ..helpers import run_bundle
from ..travelling import NAMES, OBLIQUE, otherwise_trained
from .monai_label import Server

SERVED = {"heart2d": 2, "heart3d": 3}


@pytest.fixture(scope="module")
def hearts(tmp_path_factory):
    return {name: otherwise_trained(tmp_path_factory.mktemp(name), dims) for name, dims in SERVED.items()}


@pytest.fixture(scope="module")
def server(label_env, hearts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("travels")
    for name, heart in hearts.items():
        deploy(heart, folder / "app", name=name)
    made = Server(label_env, folder / "app", hearts["heart2d"].parent / "data" / "images", folder)
    yield made.start()
    made.stop()


@pytest.mark.parametrize("name", SERVED)
def test_names_and_voxels_are_those_of_the_training(server, hearts, tmp_path, name):
    assert server.info()["models"][name]["labels"] == {label: value for value, label in enumerate(NAMES, 1)}
    study = min((hearts[name].parent / "data" / "images").glob("*.nii.gz"))
    server.infer(name, study.name.removesuffix(".nii.gz"), tmp_path / "served.nii.gz")
    run_bundle([hearts[name] / "configs" / "inference.yaml"], dataset_dir=study, output_dir=tmp_path / "own")
    own, served = nib.load(next((tmp_path / "own").iterdir())), nib.load(tmp_path / "served.nii.gz")
    assert np.array_equal(np.asarray(served.dataobj).squeeze(), np.asarray(own.dataobj))
    np.testing.assert_allclose(served.affine, OBLIQUE, atol=1e-3)


def test_a_training_in_the_server_keeps_the_settings(server, hearts):
    """Its classes, spacing and patches are those of the student that it starts from."""
    data = hearts["heart2d"].parent / "data"
    for label in sorted((data / "labels").iterdir())[:3]:
        server.put_label(label.name.removesuffix(".nii.gz"), label)
    answer = server.train("heart2d")
    assert answer.status_code == 200, answer.text + server.said()
    versions = sorted((server.app / "model" / ".versions" / "heart2d").glob("[0-9]*"))
    assert len(versions) == 2
    from medkd.networks.checkpoints import read_settings

    before, after = (read_settings(version / "models" / "model.pt") for version in versions)
    assert before == after
    assert after["class_names"] == NAMES
