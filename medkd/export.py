"""The student in a format of deployment, checked against the network itself on real images."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from medkd.bundle import read_bundle, read_metadata
from medkd.bundle.runtimes import PRECISIONS, exported_path
from medkd.bundle.validation import key_score
from medkd.datasets.datalist import load_datalist
from medkd.engines.patches import STRIDE
from medkd.files import atomic_path, sha256
from medkd.network_inputs import network_inputs
from medkd.networks.exported import ExportedNetwork
from medkd.quantise import Quantisation, quantise

__all__ = ["FORMATS", "ExportReport", "export_bundle"]

_CALIBRATION = 32  # tensors
_TOLERANCES = {"fp32": 1e-4, "fp16": 1e-2}


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how far its outputs are from the network's.

    Attributes:
        path: the exported file.
        inputs: the number of network inputs that were compared.
        difference: the largest absolute difference of two outputs (logits).
        scale: the largest absolute output of the network.
        quantisation: of a file in 8 bits, what that has cost.
        metric: by which.
    """

    path: Path
    inputs: int
    difference: float
    scale: float
    quantisation: Quantisation | None = None
    metric: str = ""


def export_bundle(
    bundle: str | Path,
    *,
    format: str,  # noqa: A002 - what the command line calls it
    images: str | Path | None = None,
    model_path: str | Path | None = None,
    output: str | Path | None = None,
    tolerance: float | None = None,
    precision: str = "fp32",
    dataset_dir: str | Path | None = None,
    bound: float = 0.002,
) -> ExportReport:
    """Export the network of ``inference.yaml`` with its weights; the bundle's metadata go into the file.

    The batch is free; the spatial size is the one that inference uses, or any multiple of ``STRIDE`` (``medkd.engines.patches``) where its
    windows are whole sides.

    Args:
        bundle: the bundle's folder.
        format: one of ``FORMATS``: ``"torchscript"`` (.ts), ``"onnx"`` (.onnx) or ``"exported_program"`` (.pt2).
        images: what to compare the outputs on, or to calibrate 8 bits on; anything that the bundle's inference takes as
            ``dataset_dir``, which is the default.
        model_path: the weights; ``models/model.pt`` of the bundle by default.
        output: the file to write; beside the weights by default, where inference looks for it (``medkd.bundle.runtimes.exported_path``).
        tolerance: the largest difference that is accepted, relative to the largest output or 1; 1e-4 by default, of fp16 1e-2.
        precision: ``"fp32"``, or of ONNX ``"fp16"``, weights in 16 bits: half the file, computed in float32, or ``"int8"``:
            weights and activations in 8 bits, see ``medkd.quantise``.
        dataset_dir: for ``"int8"``: the datalist whose validation images decide, and whose training images calibrate it unless
            ``images`` do.
        bound: for ``"int8"``: how far the bundle's key metric may fall on the validation images.

    Raises:
        ValueError: for an unknown format or precision, if the outputs differ by more, or 8 bits cost more; nothing is
            written then.
        FileNotFoundError: if the weights or images are missing.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {sorted(FORMATS)}, got {format!r}")
    if precision not in (PRECISIONS if format == "onnx" else ("fp32",)):
        raise ValueError(f"precision must be fp32, or of onnx fp16 or int8, got {precision!r} of {format}")
    bundle = Path(bundle).resolve()
    if precision == "int8":
        return _export_int8(
            bundle, images, dataset_dir, Path(model_path or bundle / "models" / "model.pt"), output, bound
        )
    if dataset_dir is not None:
        raise ValueError("expected a dataset_dir for int8 alone; images are what outputs are compared on")
    write, model = FORMATS[format], Path(model_path or bundle / "models" / "model.pt")
    network, inputs = network_inputs(bundle, images, model)
    path = Path(output or exported_path(model, format, precision))
    metadata = {**read_metadata(bundle, model), "student_sha256": sha256(model)}
    with atomic_path(path) as partial, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracers warn of every shape they take for a constant, which here it is
        write(network, inputs[0], partial, metadata, _whole_sides(bundle, model))
        if precision == "fp16":
            _halve(partial)
        difference, scale = _compare(network, ExportedNetwork(str(partial)), inputs)
        if not difference <= (tolerance or _TOLERANCES[precision]) * max(1.0, scale):
            raise ValueError(f"{path}: expected the network's outputs (up to {scale:.3g}), found {difference:.3g} off")
    return ExportReport(path, len(inputs), difference, scale)


def _export_int8(
    bundle: Path,
    images: str | Path | None,
    dataset_dir: str | Path | None,
    model: Path,
    output: str | Path | None,
    bound: float,
) -> ExportReport:
    """In float32 first, with everything that is checked there; then in 8 bits."""
    if dataset_dir is None:
        raise ValueError("expected a dataset_dir for int8: its training images calibrate, its validation images decide")
    settings = {"device": "cpu", "dataset_dir": str(Path(dataset_dir).resolve()), "progress": False}
    calibrating = images or [item["image"] for item in load_datalist(dataset_dir, "training")]
    _, inputs = network_inputs(bundle, calibrating, model, limit=_CALIBRATION, spread=True)
    metric: list[str] = []

    def score(file: Path) -> float:
        found = key_score(bundle, settings, model=model, exported=file)
        if found is None:
            raise ValueError(f"{dataset_dir}: expected validation images, which decide about int8, found none")
        metric[:] = [found[0]]
        return found[1]

    path = Path(output or exported_path(model, "onnx", "int8"))
    with tempfile.TemporaryDirectory() as folder, atomic_path(path) as partial:
        first = images or load_datalist(dataset_dir, "training")[0]["image"]
        whole = export_bundle(bundle, format="onnx", images=first, model_path=model, output=f"{folder}/whole.onnx")
        found = quantise(whole.path, partial, [x.numpy() for x in inputs], score=score, bound=bound)
    return replace(whole, path=path, inputs=len(inputs), quantisation=found, metric=metric[0])


def _whole_sides(bundle: Path, model: Path) -> list[int]:
    """The axes along which the network sees images of any size."""
    parser = read_bundle(bundle, model).inference
    window = parser.get_parsed_content("window_size") if "window_size" in parser else []
    return [axis for axis, side in enumerate(window, start=2) if side == -1]


def _free(whole: Sequence[int]) -> dict[int, Any]:
    sides = {axis: STRIDE * torch.export.Dim(f"side{axis}", min=1) for axis in whole}
    return {0: torch.export.Dim("batch"), **sides}


@torch.no_grad()
def _compare(network: nn.Module, exported: nn.Module, inputs: list[Tensor]) -> tuple[float, float]:
    pairs = [(network(x), exported(x)) for x in inputs]
    difference = max(float((expected - found).abs().max()) for expected, found in pairs)
    return difference, max(float(expected.abs().max()) for expected, _ in pairs)


def _write_torchscript(
    network: nn.Module, example: Tensor, path: Path, metadata: dict[str, Any], whole: Sequence[int] = ()
) -> None:
    from monai.data.torchscript_utils import save_net_with_metadata

    traced: Any = torch.jit.trace(network, example)  # type: ignore[no-untyped-call]
    save_net_with_metadata(traced, str(path), meta_values=metadata)


def _write_onnx(
    network: nn.Module, example: Tensor, path: Path, metadata: dict[str, Any], whole: Sequence[int] = ()
) -> None:
    program: Any = torch.onnx.export(
        network,
        (_example(example, whole),),
        input_names=["image"],
        output_names=["pred"],
        dynamic_shapes=(_free(whole),),
        dynamo=True,
        verbose=False,
    )
    program.model.metadata_props["metadata.json"] = json.dumps(metadata)
    program.save(str(path), external_data=False)


def _write_exported_program(
    network: nn.Module, example: Tensor, path: Path, metadata: dict[str, Any], whole: Sequence[int] = ()
) -> None:
    program = torch.export.export(network, (_example(example, whole),), dynamic_shapes=(_free(whole),))
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={"metadata.json": json.dumps(metadata)})


def _halve(path: Path) -> None:
    """Weights in 16 bits in the file; runtimes make 32 of them when they load it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model, casts = onnx.load(path), []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            name, half = tensor.name, f"{tensor.name}_fp16"
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float16"), half))
            casts.append(helper.make_node("Cast", [half], [name], name=f"{name}_fp32", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def _example(image: Tensor, whole: Sequence[int]) -> Tensor:
    """Two of everything that is free: exporters take a dimension of one, or one stride, for a constant."""
    sizes = [2 * STRIDE if axis in whole else size for axis, size in enumerate(image.shape)]
    return image.new_zeros([2, *sizes[1:]])


class _Write(Protocol):
    def __call__(
        self, network: nn.Module, example: Tensor, path: Path, metadata: dict[str, Any], whole: Sequence[int] = ()
    ) -> None: ...


FORMATS: dict[str, _Write] = {
    "torchscript": _write_torchscript,
    "onnx": _write_onnx,
    "exported_program": _write_exported_program,
}
