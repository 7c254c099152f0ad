"""The student in a format of deployment, checked against the network itself on real images."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medkd.bundle import read_bundle, read_metadata
from medkd.files import atomic_path
from medkd.networks.checkpoints import load_model
from medkd.networks.exported import ExportedNetwork

__all__ = ["FORMATS", "ExportReport", "export_bundle", "network_inputs"]


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how far its outputs are from the network's.

    Attributes:
        path: the exported file.
        inputs: the number of network inputs that were compared.
        difference: the largest absolute difference of two outputs (logits).
        scale: the largest absolute output of the network.
    """

    path: Path
    inputs: int
    difference: float
    scale: float


def export_bundle(
    bundle: str | Path,
    *,
    format: str,  # noqa: A002 - what the command line calls it
    images: str | Path | None = None,
    model_path: str | Path | None = None,
    output: str | Path | None = None,
    tolerance: float = 1e-4,
) -> ExportReport:
    """Export the network of ``inference.yaml`` with its weights; the bundle's metadata go into the file.

    The batch is free, the spatial size is the one that inference uses.

    Args:
        bundle: the bundle's folder.
        format: one of ``FORMATS``: ``"torchscript"`` (.ts), ``"onnx"`` (.onnx) or ``"exported_program"`` (.pt2).
        images: what to compare the outputs on; anything that the bundle's inference takes as ``dataset_dir``, which
            is the default.
        model_path: the weights; ``models/model.pt`` of the bundle by default.
        output: the file to write; ``models/model.ts`` or so in the bundle by default.
        tolerance: the largest difference that is accepted, relative to the largest output or 1.

    Raises:
        ValueError: for an unknown format, or if the outputs differ by more; nothing is written then.
        FileNotFoundError: if the weights or images are missing.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {sorted(FORMATS)}, got {format!r}")
    suffix, write = FORMATS[format]
    bundle = Path(bundle).resolve()
    network, inputs = network_inputs(bundle, images, model_path)
    path = Path(output) if output else bundle / "models" / f"model{suffix}"
    metadata = read_metadata(bundle, model_path)
    with atomic_path(path) as partial, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracers warn of every shape they take for a constant, which here it is
        write(network, inputs[0], partial, metadata)
        difference, scale = _compare(network, ExportedNetwork(str(partial)), inputs)
        if not difference <= tolerance * max(1.0, scale):
            raise ValueError(f"{path}: expected the network's outputs (up to {scale:.3g}), found {difference:.3g} off")
    return ExportReport(path, len(inputs), difference, scale)


@torch.no_grad()
def network_inputs(
    bundle: Path, images: str | Path | None = None, model_path: str | Path | None = None, *, limit: int = 8
) -> tuple[nn.Module, list[Tensor]]:
    """The trained network in eval mode, and the first tensors that the bundle's inferer gives it for some images."""
    model = Path(model_path or bundle / "models" / "model.pt")
    parser = read_bundle(bundle, model).inference
    parser.update({"device": "cpu"})
    if images is not None:
        parser.update({"dataset_dir": str(Path(images).resolve())})
    network = load_model(model, parser.get_parsed_content("network_def")).eval()
    inputs: list[Tensor] = []

    def recorded(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if len(inputs) < limit:
            inputs.append(torch.as_tensor(x).as_subclass(Tensor).clone())
        return network(x, *args, **kwargs)

    inferer = parser.get_parsed_content("inferer")
    for item in parser.get_parsed_content("dataset"):
        inferer(torch.as_tensor(item["image"])[None], recorded)
        if len(inputs) >= limit:
            break
    return network, inputs


@torch.no_grad()
def _compare(network: nn.Module, exported: nn.Module, inputs: list[Tensor]) -> tuple[float, float]:
    pairs = [(network(x), exported(x)) for x in inputs]
    difference = max(float((expected - found).abs().max()) for expected, found in pairs)
    return difference, max(float(expected.abs().max()) for expected, _ in pairs)


def _write_torchscript(network: nn.Module, example: Tensor, path: Path, metadata: dict[str, Any]) -> None:
    from monai.data.torchscript_utils import save_net_with_metadata

    traced: Any = torch.jit.trace(network, example)  # type: ignore[no-untyped-call]
    save_net_with_metadata(traced, str(path), meta_values=metadata)


def _write_onnx(network: nn.Module, example: Tensor, path: Path, metadata: dict[str, Any]) -> None:
    program: Any = torch.onnx.export(
        network,
        (_pair(example),),
        input_names=["image"],
        output_names=["pred"],
        dynamic_shapes=({0: "batch"},),
        dynamo=True,
        verbose=False,
    )
    program.model.metadata_props["metadata.json"] = json.dumps(metadata)
    program.save(str(path), external_data=False)


def _write_exported_program(network: nn.Module, example: Tensor, path: Path, metadata: dict[str, Any]) -> None:
    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (_pair(example),), dynamic_shapes=({0: batch},))
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={"metadata.json": json.dumps(metadata)})


def _pair(example: Tensor) -> Tensor:
    """A batch of two: exporters take a dimension of one for a constant."""
    return torch.cat([example[:1], example[:1]])


FORMATS: dict[str, tuple[str, Callable[[nn.Module, Tensor, Path, dict[str, Any]], None]]] = {
    "torchscript": (".ts", _write_torchscript),
    "onnx": (".onnx", _write_onnx),
    "exported_program": (".pt2", _write_exported_program),
}
