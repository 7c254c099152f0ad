"""The student as PyTorch has it, or in a runtime that is faster on a CPU."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from medkd.files import sha256
from medkd.networks.checkpoints import load_model
from medkd.networks.exported import RUNTIMES, ExportedNetwork

__all__ = ["PRECISIONS", "PYTORCH", "exported_path", "load_student", "student_network"]

PRECISIONS = ("fp32", "fp16", "int8")
PYTORCH = {"runtime": "pytorch", "precision": "fp32"}  # what runs a student of which nothing else is said


def exported_path(model_path: str | Path, runtime: str, precision: str = "fp32") -> Path:
    """Where ``medkd export`` writes, and a runtime looks: ``model.onnx`` or ``model.int8.onnx`` beside ``model.pt``."""
    model = Path(model_path)
    return model.with_name(f"{model.stem}{'' if precision == 'fp32' else f'.{precision}'}{RUNTIMES[runtime]}")


def student_network(network: nn.Module, runtime: str, precision: str = "fp32", *, model_path: str | Path) -> nn.Module:
    """The network of a configuration, or the file that was exported of its student.

    Args:
        network: of ``network_def``, without weights.
        runtime: ``"pytorch"``, or one of ``RUNTIMES``.
        precision: of the exported file: ``"fp32"``, ``"fp16"`` or ``"int8"``. In PyTorch ``amp`` says it.
        model_path: the student; the exported file lies beside it.

    Raises:
        ValueError: for another runtime or precision.
        FileNotFoundError: if nothing was exported, with the command that does it.
        ImportError: if the runtime is not installed, with the pip command.
    """
    if runtime not in ("pytorch", *RUNTIMES):
        raise ValueError(f"runtime: expected pytorch, {', '.join(RUNTIMES)}, found {runtime!r}")
    allowed = PRECISIONS if RUNTIMES.get(runtime) == ".onnx" else ("fp32",)
    if precision not in allowed:
        raise ValueError(f"precision: expected {' or '.join(allowed)} of {runtime}, found {precision!r}")
    if runtime == "pytorch":
        return network
    path = exported_path(model_path, runtime, precision)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected the exported student, found nothing there; {_command(path)}")
    return ExportedNetwork(path, runtime)


def load_student(path: str | Path, network: nn.Module) -> nn.Module:
    """Fill the network with the student's weights; one that was exported has them, if it is of this student.

    Raises:
        FileNotFoundError: if there is no such student.
        ValueError: if the file does not fit the network, or the network was exported of another student.
    """
    if not isinstance(network, ExportedNetwork):
        return load_model(path, network)
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{path}: expected the student that {network.path} was exported of, found nothing there"
        )
    if network.student != sha256(Path(path)):
        raise ValueError(
            f"{network.path}: expected what was exported of {path} as it is now, found a network of another student; "
            f"{_command(network.path)}"
        )
    return network


def _command(path: Path) -> str:
    """What makes an exported file; 8 bits are decided on a datalist."""
    name = next(runtime for runtime, suffix in RUNTIMES.items() if suffix == path.suffix)
    precision = next((part[1:] for part in path.suffixes if part[1:] in PRECISIONS), "fp32")
    more = {"fp32": "", "fp16": " --precision fp16", "int8": " --precision int8 --dataset_dir DIR"}[precision]
    return f"`medkd export BUNDLE --model_path {path.with_name(path.name.partition('.')[0] + '.pt')} --format {name}{more}` makes it"
