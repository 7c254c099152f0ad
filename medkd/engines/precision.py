"""Mixed precision on CUDA and on CPUs; MONAI's engines know it on CUDA alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor

__all__ = ["AutocastInferer", "autocast_dtype"]

# Of x86 and of ARM, as torch.cpu.get_capabilities names them. Other CPUs emulate bfloat16 and are slower in it.
_CPU_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def autocast_dtype(amp: bool | str, device: str | torch.device) -> torch.dtype | None:
    """The type that a device computes fastest in without harm to a training, or ``None`` for float32.

    CUDA: bfloat16 if the GPU computes in it (compute capability 8.0), else float16, for which a trainer needs MONAI's
    ``amp``, that is a scaler of gradients. A CPU: bfloat16 if it has instructions for it and this PyTorch
    can tell (``torch.cpu.get_capabilities``). Other devices: float32.

    Args:
        amp: ``"auto"`` or ``True``: as above; ``False``: float32.
        device: where the network is.

    Raises:
        ValueError: for another value of ``amp``.

    Warns:
        UserWarning: if mixed precision was asked for (``True``) and the device has none.
    """
    if amp not in (True, False, "auto"):
        raise ValueError(f"amp: expected auto, true or false, got {amp!r}")
    if not amp:
        return None
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16
    if kind == "cpu" and _cpu_has_bfloat16():
        return torch.bfloat16
    if amp != "auto":
        warnings.warn(
            f"amp: expected a device that computes in bfloat16, found a {kind} without; going on in float32",
            stacklevel=2,
        )
    return None


def _cpu_has_bfloat16() -> bool:
    """oneDNN, which computes in it, reads the same instructions."""
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return torch._C._has_mkldnn and any(found.get(name) for name in _CPU_BFLOAT16)


class AutocastInferer(Inferer):
    """Another inferer, whose network computes in mixed precision and gives float32.

    So losses, the blending of patches and post-processing are in float32 in every engine, MONAI's own included.

    Args:
        inferer: the inferer to use.
        dtype: what ``autocast_dtype`` says; ``None`` leaves everything as it is.
    """

    def __init__(self, inferer: Inferer, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.inferer, self.dtype = inferer, dtype

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As the inferer that is wrapped."""
        if self.dtype is None:
            return self.inferer(inputs, network, *args, **kwargs)

        def forward(window: Tensor, *values: Any, **options: Any) -> Any:
            with torch.autocast(window.device.type, self.dtype):
                output = network(window, *values, **options)
            return _float32(output)

        return self.inferer(inputs, forward, *args, **kwargs)


def _float32(output: Any) -> Any:
    """The same tensor, or (named) tuple, list or dict of tensors."""
    if isinstance(output, Tensor):
        return output.float() if output.dtype in (torch.bfloat16, torch.float16) else output
    if isinstance(output, dict):
        return {key: _float32(value) for key, value in output.items()}
    if isinstance(output, (list, tuple)):
        values = [_float32(value) for value in output]
        return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)
    return output
