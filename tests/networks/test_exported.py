"""An exported network is a network; tests/bundles/test_export.py compares those of the bundles with what they come from."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose, EnsureChannelFirstd, Invertd, Resized
from torch import nn

from medkd.export import FORMATS
from medkd.networks import ExportedNetwork
from medkd.networks.exported import RUNTIMES


def test_a_batch_of_several_and_a_gradient_go_through(tmp_path: Path) -> None:
    network = nn.Conv2d(1, 2, 3).eval()
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 1, 8, 8)), tmp_path / "model.ts")
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    found = ExportedNetwork(str(tmp_path / "model.ts"))(x)
    torch.testing.assert_close(found, network(x.float()))
    assert list(ExportedNetwork(str(tmp_path / "model.ts")).parameters())  # which go to a GPU with it
    assert not found.requires_grad


def test_what_is_known_of_the_images_is_known_of_the_prediction(tmp_path: Path) -> None:
    """Else nobody could bring it back to their geometry."""
    torch.jit.save(torch.jit.trace(nn.Conv2d(1, 2, 1), torch.zeros(1, 1, 8, 8)), tmp_path / "model.ts")
    before = Compose([EnsureChannelFirstd("image", channel_dim="no_channel"), Resized("image", (8, 8))])
    item = before({"image": MetaTensor(torch.rand(20, 30))})
    batch = list_data_collate([item])
    batch["pred"] = ExportedNetwork(str(tmp_path / "model.ts"))(batch["image"])
    (found,) = decollate_batch(batch)
    assert Invertd("pred", before, orig_keys="image")(found)["pred"].shape == (2, 20, 30)


@pytest.mark.parametrize("form", ["torchscript", "exported_program"])
def test_mixed_precision_around_it_changes_nothing(tmp_path: Path, form: str) -> None:
    network, x = nn.Conv2d(1, 2, 3).eval(), torch.randn(1, 1, 8, 8)
    path = tmp_path / f"model{RUNTIMES[form]}"
    FORMATS[form](network, x, path, {})
    with torch.autocast("cpu", torch.bfloat16):
        found = ExportedNetwork(path)(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, network(x).detach())


@pytest.mark.parametrize("name", ["model.ts", "model.pt2", "model.onnx"])
def test_what_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"{name}: expected an exported network"):
        ExportedNetwork(str(tmp_path / name))
    (tmp_path / name).write_bytes(b"none")
    with pytest.raises(ValueError, match=f"{name}: expected an exported network, found none"):
        ExportedNetwork(str(tmp_path / name))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_images_of_another_size_are_refused_where_the_file_has_one(tmp_path: Path, runtime: str) -> None:
    network, path = nn.Conv2d(1, 2, 3, padding=1).eval(), tmp_path / "model.onnx"
    FORMATS["onnx"](network, torch.zeros(1, 1, 64, 96), path, {})
    student = ExportedNetwork(path, runtime)
    assert student(torch.rand(5, 1, 64, 96)).shape == (5, 2, 64, 96)
    expected = re.escape("model.onnx: exported for inputs of [5, 1, 64, 96], found [5, 1, 96, 64]: export it again")
    with pytest.raises(ValueError, match=expected):
        student(torch.rand(5, 1, 96, 64))
    FORMATS["onnx"](network, torch.zeros(1, 1, 64, 96), path, {}, [2, 3])
    assert ExportedNetwork(path, runtime)(torch.rand(1, 1, 96, 2080)).shape == (1, 2, 96, 2080)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_several_threads_infer_at_once(tmp_path: Path, runtime: str) -> None:
    """As a server does; each gets what is its own, and keeps it."""
    network, path = nn.Sequential(nn.Conv2d(1, 16, 5), nn.Conv2d(16, 2, 5)).eval(), tmp_path / "model.onnx"
    FORMATS["onnx"](network, torch.zeros(1, 1, 96, 96), path, {})
    student, images = ExportedNetwork(path, runtime), torch.randn(24, 1, 1, 96, 96)
    with ThreadPoolExecutor(4) as pool, torch.no_grad():
        found = list(pool.map(student, images))
        for x, prediction in zip(images, found, strict=True):
            torch.testing.assert_close(prediction, network(x), atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_the_first_inferences_of_a_program_may_meet(tmp_path: Path) -> None:
    """OpenVINO makes its first array once; two threads that both come to it would wait for each other for ever."""
    path = tmp_path / "model.onnx"
    FORMATS["onnx"](nn.Conv2d(1, 2, 3), torch.zeros(1, 1, 96, 96), path, {})
    code = """
import os, sys, threading
import torch
from medkd.networks import ExportedNetwork
sys.setswitchinterval(1e-6)
student, all_here = ExportedNetwork(sys.argv[1], "openvino"), threading.Barrier(8)
def infer():
    all_here.wait()
    student(torch.zeros(1, 1, 96, 96))
threads = [threading.Thread(target=infer, daemon=True) for _ in range(8)]
[thread.start() for thread in threads], [thread.join(60) for thread in threads]
os._exit(any(thread.is_alive() for thread in threads))
"""
    assert subprocess.run([sys.executable, "-c", code, str(path)], timeout=120).returncode == 0


def test_another_suffix_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.pt: expected a network exported as \.ts, \.pt2, \.onnx"):
        ExportedNetwork("model.pt")


def test_without_the_runtime_the_pip_command_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r'pip install "medkd\[export\]"'):
        ExportedNetwork(str(tmp_path / "model.onnx"))
