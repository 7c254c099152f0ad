"""A student as MLflow loads it gives what the network gives."""

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch

from medkd.bundle.pyfunc import PyfuncStudent, bundled_student
from medkd.handlers.saved_model import save_student

from ..serving.conftest import METHODS, small_copy

# Of a program that knows nothing but where models and their inputs are: all in one, for MLflow and MONAI take seconds to import.
LOAD = """
import json, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
import mlflow
for model, example, found in json.loads(sys.argv[1]):
    np.save(found, mlflow.pyfunc.load_model(model).predict(np.load(example)))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Of every bundle its folder, and the model that was made of it."""
    folder, made = tmp_path_factory.mktemp("pyfunc"), {}
    for name in METHODS:
        bundle = small_copy(name, folder)
        save_student(folder / f"model-{name}", bundle, bundle / "models" / "model.pt")
        made[name] = bundle, folder / f"model-{name}"
    return made


@pytest.fixture(scope="module")
def elsewhere(saved, tmp_path_factory):
    """What another program gets for each model's own example and its mirror image."""
    folder, calls = tmp_path_factory.mktemp("elsewhere"), []
    for name, (_, model) in saved.items():
        example = mlflow.models.Model.load(str(model)).load_input_example(str(model))
        np.save(folder / f"{name}-in.npy", np.concatenate([example, example[..., ::-1]]))
        calls.append([str(model), str(folder / f"{name}-in.npy"), str(folder / f"{name}.npy")])
    done = subprocess.run([sys.executable, "-c", LOAD, json.dumps(calls)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: (np.load(given), np.load(found)) for name, (_, given, found) in zip(saved, calls, strict=True)}


@pytest.mark.parametrize("name", METHODS)
def test_a_program_that_knows_mlflow_alone_gets_the_same_output(saved, elsewhere, name):
    bundle, model = saved[name]
    given, found = elsewhere[name]
    with torch.no_grad():
        expected = bundled_student(bundle)(torch.from_numpy(given)).numpy()
    assert expected.std() > 0
    assert np.abs(expected[0] - expected[1]).max() > 1e-3  # it depends on what it was given
    np.testing.assert_allclose(found, expected, atol=1e-5)
    signature = mlflow.models.Model.load(str(model)).signature
    for told, array in ((signature.inputs, given), (signature.outputs, found)):
        shape = told.inputs[0].shape
        assert len(shape) == array.ndim
        assert all(side in (-1, real) for side, real in zip(shape, array.shape, strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_a_model_holds_a_bundle_and_no_pickle(saved, name):
    bundle, model = saved[name]
    files = {str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()}
    assert not [file for file in files if file.endswith((".pkl", ".pth"))]
    assert {f"data/bundle/{part}" for part in ("models/model.pt", "configs/inference.yaml", "LICENSE")} <= files
    assert "data/bundle/checkpoints/teacher.pt" not in files
    copied = model / "data" / "bundle" / "models" / "model.pt"
    assert copied.read_bytes() == (bundle / "models" / "model.pt").read_bytes()
    torch.load(copied, weights_only=True)
    requirements = (model / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in requirements} == {"medkd", "mlflow", "monai", "torch"}


def test_a_teacher_goes_along_where_it_is_named(saved, tmp_path):
    bundle, _ = saved["kdas_polyp_segmentation"]
    teacher = bundle / "checkpoints" / "teacher.pt"
    save_student(tmp_path / "model", bundle, bundle / "models" / "model.pt", teacher=teacher)
    copied = tmp_path / "model" / "data" / "bundle" / "checkpoints" / "teacher.pt"
    assert copied.read_bytes() == teacher.read_bytes()


def test_without_cases_no_configuration_says_where_they_lie(saved, tmp_path):
    bundle, _ = saved["confkd_cardiac_mri_segmentation"]
    train = bundle / "configs" / "train.yaml"
    text = train.read_text()
    train.write_text(text.replace("\ndataset_dir:", "\ndataset_dir: /clinic/Doe^Jane  #", 1))
    assert "Doe" in train.read_text()
    save_student(tmp_path / "model", bundle, bundle / "models" / "model.pt", anonymous=True)
    files = [path for path in (tmp_path / "model").rglob("*") if path.is_file()]
    assert not [path for path in files if b"Doe" in path.read_bytes()]
    bundled_student(tmp_path / "model" / "data" / "bundle")
    train.write_text(text)


def test_predict_takes_what_mlflow_gives_it():
    student = PyfuncStudent(torch.nn.Conv2d(1, 2, 1))
    found = student.predict(np.zeros((3, 1, 4, 4), dtype=np.float64), params={})
    assert (found.shape, found.dtype) == ((3, 2, 4, 4), np.float32)
    assert Path(sys.modules[PyfuncStudent.__module__].__file__).name == "pyfunc.py"
