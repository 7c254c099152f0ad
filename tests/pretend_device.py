"""A rehearsal of a GPU on a machine without one: what waits for the device, and what mixes devices.

Tensors say that they are on ``pretend:0``, hold their data on the CPU, and refuse to be mixed with the CPU's, as CUDA's do.
Every operation that would make the host wait for a GPU is counted under the line that asked for it.

    with Rehearsal() as rehearsal:
        …                       # device=DEVICE
    rehearsal.waits             # {"medkd/…py:12 aten::nonzero": 3}

Good for training steps; a ``MetaTensor`` cannot be made of such a tensor, so nothing can be validated.
"""

import traceback
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

__all__ = ["DEVICE", "Rehearsal"]


class _Backend(backend_registration._DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


backend_registration._setup_privateuseone_for_python_backend("pretend", backend_module=_Backend())
DEVICE = torch.device("pretend", 0)
# Their result's shape or value is known to the host only when the device has computed it.
_WAITS = {
    f"aten::{name}"
    for name in ("_local_scalar_dense", "equal", "is_nonzero", "masked_select", "nonzero", "unique", "_unique2")
}
# Between devices by design, or (an index on the CPU) allowed by CUDA.
_MIXED = {
    "aten::copy_",
    "aten::_to_copy",
    "aten::index",
    "aten::index_put",
    "aten::index_put_",
    "aten::_index_put_impl_",
}
_OURS = Path(__file__).resolve().parents[1]


class _Pretend(torch.Tensor):
    @staticmethod
    def __new__(cls, data: torch.Tensor) -> "_Pretend":
        layout = {"strides": data.stride(), "storage_offset": data.storage_offset(), "layout": data.layout}
        return torch.Tensor._make_wrapper_subclass(
            cls, data.size(), dtype=data.dtype, device=DEVICE, requires_grad=data.requires_grad, **layout
        )

    def __init__(self, data: torch.Tensor) -> None:
        self.on_cpu = data

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {}, Counter())

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert a tensor of a device to numpy; use Tensor.cpu()")

    __array__ = numpy


class Rehearsal(TorchDispatchMode):
    """Everything computed inside; ``waits`` counts by place and operation."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        # A device written in Python cannot have a generator of its own.
        self._generators = mock.patch.object(torch, "Generator", _generator)

    def __enter__(self) -> "Rehearsal":
        self._generators.start()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._generators.stop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        ours = _pretend(kwargs.get("device")) or any(isinstance(x, _Pretend) for x in tree_flatten((args, kwargs))[0])
        return _run(func, args, kwargs, self.waits) if ours else func(*args, **kwargs)


def _generator(device: Any = "cpu", make: Any = torch.Generator) -> torch.Generator:
    return make("cpu" if _pretend(device) else device)


def _pretend(device: Any) -> bool:
    return device is not None and torch.device(device).type == "pretend"


def _run(func: Any, args: Any, kwargs: Any, waits: Counter[str]) -> Any:
    name = func._schema.name
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
    ours = [x for x in tensors if isinstance(x, _Pretend)]
    _refuse_mixed(name, args, tensors, ours)
    target = None if kwargs.get("device") is None else _pretend(kwargs["device"])
    if name in _WAITS or _by_index(name, args) or _copies_and_waits(name, args, kwargs, target):
        waits[f"{_place()} {name}"] += 1
    if target is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    plain = tree_map(lambda x: x.on_cpu if isinstance(x, _Pretend) else x, (args, kwargs))
    out = func(*plain[0], **plain[1])
    if name == "aten::_local_scalar_dense" or not (ours or target is not None):
        return out
    if name.endswith("_") and not name.endswith("__") and isinstance(args[0], torch.Tensor):
        return args[0]
    if target is False:
        return out
    same = {id(x.on_cpu): x for x in ours}
    return tree_map(lambda x: (same.get(id(x)) or _Pretend(x)) if isinstance(x, torch.Tensor) else x, out)


def _refuse_mixed(name: str, args: Any, tensors: list[torch.Tensor], ours: list[_Pretend]) -> None:
    """As CUDA does; numbers (tensors without a dimension) of the CPU are taken everywhere."""
    if ours and name not in _MIXED and any(x.dim() > 0 for x in tensors if not isinstance(x, _Pretend)):
        raise RuntimeError(f"expected all tensors on one device, found pretend:0 and cpu in {name}")
    if ours and name.startswith("aten::index") and not isinstance(args[0], _Pretend):
        raise RuntimeError(f"a CPU tensor cannot be indexed by one of a device ({name})")


def _by_index(name: str, args: Any) -> bool:
    """By a mask, whose pixels are counted first, or by an index that must come from the CPU."""
    indices = args[1] if name.startswith("aten::index") and len(args) > 1 and isinstance(args[1], (list, tuple)) else []
    found = [index for index in indices if isinstance(index, torch.Tensor)]
    away = isinstance(args[0], _Pretend) and any(i.dim() > 0 and not isinstance(i, _Pretend) for i in found)
    return away or any(index.dtype in (torch.bool, torch.uint8) for index in found)


def _copies_and_waits(name: str, args: Any, kwargs: Any, target: bool | None) -> bool:
    """To the host always; from it unless it is told not to wait."""
    if name == "aten::copy_":
        here, there = (not isinstance(x, _Pretend) for x in args[:2])
        waits_not = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
        return here != there and (here or not waits_not)
    if name != "aten::_to_copy" or target is None:
        return False
    from_device = isinstance(args[0], _Pretend)
    return from_device != target and (from_device or not kwargs.get("non_blocking", False))


def _place() -> str:
    """The innermost line of this project's or MONAI's that the operation comes from."""
    frames = [f for f in traceback.extract_stack() if f.filename != __file__]
    near = [f for f in frames if str(_OURS / "medkd") in f.filename or "/monai/" in f.filename] or frames
    return f"{near[-1].filename.removeprefix(f'{_OURS}/')}:{near[-1].lineno}"
