"""An exported network as a network like another: what a configuration says of it does not change with its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from monai.data.meta_tensor import MetaTensor
from torch import Tensor, nn

__all__ = ["EXPORTED_SUFFIXES", "ExportedNetwork"]

Runner = Callable[[Tensor], Tensor]


class ExportedNetwork(nn.Module):
    """TorchScript (``.ts``), an exported program (``.pt2``) or ONNX (``.onnx``) as an ``nn.Module`` in eval mode.

    The input is of the size that the file was made for; so is the batch, if it is not free in the file. TorchScript runs on
    the device that the module is moved to, the others on the CPU; the output is on the input's device.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if its suffix is another, or its content no network of that kind.
        ImportError: if ONNX Runtime is not installed, with the pip command.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = file = Path(path)
        if file.suffix not in _LOADERS:
            raise ValueError(f"{file}: expected a network exported as {', '.join(EXPORTED_SUFFIXES)}")
        if not file.is_file():
            raise FileNotFoundError(f"{file}: expected an exported network, found nothing there")
        try:
            self._run = _LOADERS[file.suffix](file)
        except ImportError:
            raise
        except Exception as error:  # whatever the runtimes make of the bytes
            raise ValueError(f"{file}: expected an exported network, found none that can be read ({error})") from error

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """The prediction ``[B, K, *spatial]`` of images ``[B, C, *spatial]``, float32, with the metadata that they have."""
        image = x.detach().float().as_subclass(Tensor)
        result = self._run(image if isinstance(self._run, nn.Module) else image.cpu()).to(x.device)
        return result if not isinstance(x, MetaTensor) else MetaTensor(result).copy_meta_from(x)  # type: ignore[no-untyped-call]


def _torchscript(path: Path) -> Runner:
    loaded: Runner = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    return loaded


def _exported_program(path: Path) -> Runner:
    with path.open("rb") as file:
        loaded = torch.export.load(file).module()
    return lambda x: loaded(x)  # no module of this one: it refuses eval(), and its weights have a device of their own


def _onnx(path: Path) -> Runner:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(f'{path}: ONNX Runtime is not installed: pip install "medkd[export]"') from error
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (name,) = [given.name for given in session.get_inputs()]
    return lambda x: torch.from_numpy(session.run(None, {name: x.contiguous().numpy()})[0])


_LOADERS: dict[str, Callable[[Path], Runner]] = {".ts": _torchscript, ".pt2": _exported_program, ".onnx": _onnx}
EXPORTED_SUFFIXES = tuple(_LOADERS)
