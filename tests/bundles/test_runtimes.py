"""The student as it was exported, inside the bundle: the masks, names and geometry of PyTorch, and never another student's."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from medkd.bundle import read_bundle
from medkd.cli import main
from medkd.networks.exported import RUNTIMES

from ..helpers import run_bundle
from .conftest import Case


@pytest.fixture(scope="module")
def own(exported: dict[str, tuple[Path, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working copy with its student, and what was exported of it."""
    return shutil.copytree(exported["onnx"][0].parents[1], tmp_path_factory.mktemp("runtimes") / "bundle")


def _masks(bundle: Path, case: Case, out: Path, **more: object) -> dict[str, np.ndarray]:
    run_bundle([bundle / "configs" / "inference.yaml"], dataset_dir=case.data / "images", output_dir=out, **more)
    return {path.name: _read(path) for path in sorted(out.iterdir())}


def _read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path) if path.suffix == ".png" else nib.load(path).dataobj)


@pytest.fixture(scope="module")
def expected(case: Case, own: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return _masks(own, case, tmp_path_factory.mktemp("masks"), amp="false")  # what is exported computes in float32


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_masks_are_those_of_pytorch(case: Case, own: Path, expected: dict, tmp_path: Path, runtime: str) -> None:
    found = _masks(own, case, tmp_path, runtime=runtime)
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        assert found[name].shape == mask.shape
        assert (found[name] == mask).mean() > 0.999


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["confkd", "kdas"], indirect=True)
def test_an_evaluation_scores_what_is_deployed(case: Case, own: Path, tmp_path: Path) -> None:
    files = [own / "configs" / name for name in ("train.yaml", "evaluate.yaml")]
    given = {"dataset_dir": case.data, "num_workers": 0, "progress": "false", "amp": "false"}
    for runtime in ("pytorch", "onnx"):
        run_bundle(files, **given, runtime=runtime, output_dir=tmp_path / runtime)
    expected, found = (pd.read_csv(tmp_path / runtime / "cases.csv") for runtime in ("pytorch", "onnx"))
    of_student = expected[expected["branch"] == "student"].reset_index(drop=True)
    assert len(of_student)
    pd.testing.assert_frame_equal(found, of_student, atol=0.01)  # a teacher's branch is not exported


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["ikdmil"], indirect=True)
def test_in_half_precision_the_file_is_half_as_large(
    case: Case, own: Path, expected: dict, tmp_path: Path, capsys
) -> None:
    command = ["export", str(own), "--format", "onnx", "--precision", "fp16", "--images", str(case.data / "images")]
    assert main(command) == 0
    assert "largest difference" in capsys.readouterr().out
    half, whole = (own / "models" / name for name in ("model.fp16.onnx", "model.onnx"))
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    for runtime in ("onnx", "openvino"):
        found = _masks(own, case, tmp_path / runtime, runtime=runtime, precision="fp16")
        assert min((found[name] == mask).mean() for name, mask in expected.items()) > 0.99
    half.unlink()


@pytest.mark.parametrize("case", ["kdas"], indirect=True)
@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"runtime": "tensorrt"}, "runtime: expected pytorch, torchscript, exported_program, onnx, openvino, found 'tensorrt'"),
        ({"runtime": "torchscript", "precision": "int8"}, "precision: expected fp32 of torchscript, found 'int8'"),
        ({"precision": "int8"}, "precision: expected fp32 of pytorch, found 'int8'"),
        (
            {"runtime": "onnx", "precision": "int8"},
            "model.int8.onnx: expected the exported student, found nothing there; `medkd export BUNDLE --model_path {bundle}/models/model.pt --format onnx --precision int8 --dataset_dir DIR` makes it",
        ),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told_in_one_line(
    case: Case, own: Path, tmp_path: Path, asked: dict, problem: str
) -> None:
    given = {"dataset_dir": case.data / "images", "output_dir": tmp_path / "out", **asked}
    done = run_bundle([own / "configs" / "inference.yaml"], check=False, bundle_root=own, **given)
    assert done.returncode == 1
    assert problem.format(bundle=own) in done.stderr.strip().splitlines()[-1]
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["kdas"], indirect=True)
def test_an_export_of_an_earlier_student_is_not_used(case: Case, own: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(own, tmp_path / "bundle")
    content = torch.load(bundle / "models" / "model.pt", weights_only=True)
    content["model"] = {key: value * 2 for key, value in content["model"].items()}
    torch.save(content, bundle / "models" / "model.pt")
    for runtime in RUNTIMES:
        found = read_bundle(bundle)
        found.run_by(runtime, None)
        with pytest.raises(
            ValueError, match=r"expected what was exported of \S+model\.pt as it is now, found a network"
        ):
            found.student()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["kdas"], indirect=True)
def test_a_student_elsewhere_is_exported_where_it_is_looked_for(case: Case, own: Path, tmp_path: Path) -> None:
    """Of a ladder's cell, for example: beside its weights, and not over what the bundle's own student has."""
    weights = tmp_path / "cell" / "models" / "model.pt"
    weights.parent.mkdir(parents=True)
    shutil.copy(own / "models" / "model.pt", weights)
    before = (own / "models" / "model.ts").stat().st_mtime_ns
    where = ["--model_path", str(weights), "--images", str(case.data / "images")]
    assert main(["export", str(own), "--format", "torchscript", *where]) == 0
    assert (weights.parent / "model.ts").is_file()
    assert (own / "models" / "model.ts").stat().st_mtime_ns == before
    assert _masks(own, case, tmp_path / "out", runtime="torchscript", model_path=weights)
