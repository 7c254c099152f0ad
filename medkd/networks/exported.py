"""An exported network as a network like another: what a configuration says of it does not change with its file."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["EXPORTED_SUFFIXES", "RUNTIMES", "ExportedNetwork"]

Runner = Callable[[Tensor], Tensor]
Loaded = tuple[Runner, str]  # and the metadata in the file, as JSON
_METADATA = "metadata.json"
_FIRST_ARRAY = threading.Lock()


class ExportedNetwork(nn.Module):
    """TorchScript (``.ts``), an exported program (``.pt2``) or ONNX (``.onnx``) as an ``nn.Module`` in eval mode.

    The input is of the sizes that the file was made for; so is the batch, if it is not free in the file. TorchScript runs on
    the device that the module is moved to, the others on the CPU, with as many threads as PyTorch; the output is on the
    input's device.

    Args:
        path: the file.
        runtime: what runs it, one of ``RUNTIMES``; by its suffix by default (ONNX Runtime for ``.onnx``).

    Attributes:
        student: SHA-256 of the student's file that it was made of by ``medkd export``; empty where the file does not say.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if its suffix is another, or its content no network of that kind; by ONNX Runtime and OpenVINO, when called, for
            images of another size.
        ImportError: if the runtime is not installed, with the pip command.
    """

    def __init__(self, path: str | Path, runtime: str | None = None) -> None:
        super().__init__()
        self.path = file = Path(path)
        suffixes = [RUNTIMES[runtime]] if runtime else EXPORTED_SUFFIXES
        if file.suffix not in suffixes:
            raise ValueError(f"{file}: expected a network exported as {', '.join(suffixes)}")
        if not file.is_file():
            raise FileNotFoundError(f"{file}: expected an exported network, found nothing there")
        try:
            self._run, metadata = _LOADERS[runtime or _BY_SUFFIX[file.suffix]](file)
        except ImportError:
            raise
        except Exception as error:  # whatever the runtimes make of the bytes
            raise ValueError(f"{file}: expected an exported network, found none that can be read ({error})") from error
        self.student = str(json.loads(metadata or "{}").get("student_sha256", ""))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """The prediction ``[B, K, *spatial]`` of images ``[B, C, *spatial]``, float32, with the metadata that they have."""
        image = x.detach().float().as_subclass(Tensor)
        with torch.autocast(x.device.type, enabled=False):  # it has the precision that it was exported with
            result = self._run(image if isinstance(self._run, nn.Module) else image.cpu()).to(x.device)
        return result if not isinstance(x, MetaTensor) else MetaTensor(result).copy_meta_from(x)  # type: ignore[no-untyped-call]


def _torchscript(path: Path) -> Loaded:
    files = {_METADATA: ""}
    loaded: Any = torch.jit.load(str(path), map_location="cpu", _extra_files=files)  # type: ignore[no-untyped-call]
    return loaded.eval(), _text(files[_METADATA])


def _exported_program(path: Path) -> Loaded:
    files = {_METADATA: ""}
    with path.open("rb") as file:
        loaded = torch.export.load(file, extra_files=files).module()
    # No module of this one: it refuses eval(), and its weights have a device of their own.
    return lambda x: loaded(x), _text(files[_METADATA])


def _text(found: str | bytes) -> str:
    return found.decode() if isinstance(found, bytes) else found


def _onnx(path: Path) -> Loaded:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(f'{path}: ONNX Runtime is not installed: pip install "medkd[export]"') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    (name,) = [given.name for given in session.get_inputs()]
    metadata = session.get_modelmeta().custom_metadata_map.get(_METADATA, "")
    made_for = _sizes(path, session.get_inputs()[0].shape)
    return lambda x: torch.from_numpy(session.run(None, {name: made_for(x)})[0]), metadata


def _openvino(path: Path) -> Loaded:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it would report every import to its maker
    try:
        import openvino
    except ImportError as error:
        raise ImportError(f'{path}: OpenVINO is not installed: pip install "medkd[openvino]"') from error
    with _FIRST_ARRAY:  # if the first arrays of two threads meet, these wait for each other for ever
        _ = openvino.Tensor(np.zeros(1, np.float32)).data
    model = openvino.Core().read_model(path)
    info = model.get_rt_info(["framework", _METADATA]).value if model.has_rt_info(["framework", _METADATA]) else ""
    # In the precision that the file says: by default it takes less where the CPU has it.
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(model, "CPU", settings)
    made_for = _sizes(path, [side.get_length() if side.is_static else None for side in model.input().partial_shape])
    # A request for each input: a server infers in several threads, and one request takes one input at a time.
    return lambda x: torch.from_numpy(compiled.create_infer_request().infer([made_for(x)])[0]), str(info)


def _sizes(path: Path, made_for: Sequence[Any]) -> Callable[[Tensor], NDArray[np.float32]]:
    """Checks an input, whose free axes have no number, and makes an array of it."""

    def check(x: Tensor) -> NDArray[np.float32]:
        fixed = [size if isinstance(size, int) else found for size, found in zip(made_for, x.shape, strict=True)]
        if list(x.shape) != fixed:
            raise ValueError(
                f"{path}: exported for inputs of {fixed}, found {list(x.shape)}: export it again with this window_size"
            )
        return np.ascontiguousarray(x.numpy())

    return check


_LOADERS: dict[str, Callable[[Path], Loaded]] = {
    "torchscript": _torchscript,
    "exported_program": _exported_program,
    "onnx": _onnx,
    "openvino": _openvino,
}
RUNTIMES = {"torchscript": ".ts", "exported_program": ".pt2", "onnx": ".onnx", "openvino": ".onnx"}
_BY_SUFFIX = {suffix: runtime for runtime, suffix in reversed(RUNTIMES.items())}
EXPORTED_SUFFIXES = tuple(_BY_SUFFIX)[::-1]
