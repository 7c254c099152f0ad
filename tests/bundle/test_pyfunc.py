"""A student as MLflow loads it gives what the network gives."""

import subprocess
import sys

import mlflow
import numpy as np
import pytest
import torch

from medkd.bundle.pyfunc import PyfuncStudent, bundled_student
from medkd.handlers.logged_model import save_student

from ..serving.conftest import METHODS, small_copy


@pytest.fixture(scope="module", params=list(METHODS))
def saved(request, tmp_path_factory):
    """A bundle, and the model that was made of it."""
    folder = tmp_path_factory.mktemp("pyfunc")
    bundle = small_copy(request.param, folder)
    save_student(folder / "model", bundle, bundle / "models" / "model.pt")
    return bundle, folder / "model"


def test_a_program_that_knows_mlflow_alone_gets_the_same_output(saved, tmp_path):
    bundle, model = saved
    described = mlflow.models.Model.load(str(model))
    example = described.load_input_example(str(model))
    with torch.no_grad():
        expected = bundled_student(bundle)(torch.from_numpy(example)).numpy()
    assert expected.std() > 0
    np.save(tmp_path / "example.npy", np.concatenate([example, example[..., ::-1]]))
    code = (
        "import sys, mlflow, numpy as np\n"
        "found = mlflow.pyfunc.load_model(sys.argv[1]).predict(np.load('example.npy'))\n"
        "np.save('found.npy', found); print('monailabel' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(model)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = np.load(tmp_path / "found.npy")
    np.testing.assert_allclose(found[:1], expected, atol=1e-5)
    outputs = described.signature.outputs.inputs[0].shape
    assert len(outputs) == found.ndim
    assert all(told in (-1, side) for told, side in zip(outputs, found.shape, strict=True))


def test_a_model_holds_no_pickle_and_no_image(saved):
    _, model = saved
    files = {str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()}
    assert not [name for name in files if name.endswith((".pkl", ".pth"))]
    assert "data/bundle/models/model.pt" in files
    assert "data/bundle/configs/inference.yaml" in files
    assert "data/bundle/checkpoints/teacher.pt" not in files
    torch.load(model / "data" / "bundle" / "models" / "model.pt", weights_only=True)
    requirements = (model / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in requirements} == {"medkd", "mlflow", "monai", "torch"}


def test_predict_takes_what_mlflow_gives_it():
    student = PyfuncStudent(torch.nn.Conv2d(1, 2, 1))
    found = student.predict(np.zeros((3, 1, 4, 4), dtype=np.float64), params={})
    assert (found.shape, found.dtype) == ((3, 2, 4, 4), np.float32)
