"""An ONNX student in 8 bits, as far as its bundle's own measure allows: layers that do not bear it stay in float32."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Quantisation", "quantise", "write_int8"]

_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Quantisation:
    """What was found.

    Attributes:
        kept: layers that stay in float32.
        layers: how many there are.
        before: the score of the network in float32.
        score: that of the quantised one.
    """

    kept: tuple[str, ...]
    layers: int
    before: float
    score: float


def quantise(
    path: Path, output: Path, inputs: Sequence[NDArray[np.float32]], *, score: Callable[[Path], float], bound: float
) -> Quantisation:
    """Quantise convolutions and products statically: weights per channel, activations by their range on some inputs.

    By ONNX Runtime, in QDQ form. While the score falls by more than the bound, the layers in which most of the signal is lost
    (in a network in which all are quantised) go back to float32, with those that feed them: one, two, four, … of them, up to
    a half.

    Args:
        path: the network in float32.
        output: the file to write.
        inputs: of the network, each ``[1, C, *spatial]``, to calibrate on.
        score: of a file; larger is better.
        bound: how far the score may fall; >= 0.

    Raises:
        ValueError: for a negative bound, or if half of the layers are not enough, with the score of every attempt; nothing is written.
    """
    if not bound >= 0:
        raise ValueError(f"bound must be >= 0, got {bound}")
    before, attempts = score(path), []
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "int8.onnx"
        write_int8(path, trial, inputs)
        layers = _by_sensitivity(path, trial, [x for x in inputs if x.shape == inputs[0].shape][:2])
        for count in _counts(len(layers)):
            kept = _with_sources(path, layers[:count])
            if kept:
                write_int8(path, trial, inputs, keep=kept)
            found = score(trial)
            attempts.append(f"{found:.4f} with {len(kept)} of {len(layers)} layers in float32")
            _logger.info("int8: score %s, of float32 %.4f", attempts[-1], before)
            if found >= before - bound:
                shutil.copyfile(trial, output)
                return Quantisation(tuple(kept), len(layers), before, found)
    raise ValueError(
        f"expected a score in 8 bits that is at most {bound:g} below that in float32, {before:.4f}; found "
        + ", ".join(attempts)
    )


def _counts(layers: int) -> Iterator[int]:
    yield 0
    count = 1
    while count <= layers // 2:
        yield count
        count *= 2


def write_int8(path: Path, output: Path, inputs: Sequence[NDArray[np.float32]], *, keep: Collection[str] = ()) -> None:
    """Quantise all layers but those to keep, whatever that costs; the arguments are those of ``quantise``."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends steps that ours do not need, and warns of every vector of weights
    try:
        quantize_static(
            str(path),
            str(output),
            _reader(inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_OPERATORS),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(keep),
        )
    finally:
        root.setLevel(level)


def _reader(inputs: Sequence[NDArray[np.float32]]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc] # ONNX Runtime has no types
        left = iter(inputs)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            found = next(self.left, None)
            return None if found is None else {"image": found}

    return Reader()


def _by_sensitivity(path: Path, quantised: Path, inputs: Sequence[NDArray[np.float32]]) -> list[str]:
    """Names of the layers, those first in which most of the signal is lost: what comes in is clearer than what goes out."""
    import onnx
    from onnxruntime.quantization import qdq_loss_debug as debug

    folder, found = quantised.parent, []
    for file, name in ((path, "float.onnx"), (quantised, "qdq.onnx")):
        debug.modify_model_output_intermediate_tensors(str(file), str(folder / name))
        found.append(debug.collect_activations(str(folder / name), _reader(inputs)))
    matching = debug.create_activation_matching(found[1], found[0])
    clear = {tensor: errors["xmodel_err"] for tensor, errors in debug.compute_activation_error(matching).items()}
    lost = {}
    for node in _layers(onnx.load(path)):
        before = min((float(clear[name]) for name in node.input if name in clear), default=0.0)
        lost[node.name] = before - min((float(clear[name]) for name in node.output if name in clear), default=before)
    return sorted(lost, key=lambda name: -lost[name])


def _with_sources(path: Path, names: Collection[str]) -> list[str]:
    """Layers, and those that make what goes into them: a layer by itself would still be given eight bits."""
    import onnx

    graph = onnx.load(path).graph
    made_by = {tensor: node for node in graph.node for tensor in node.output}
    layers, chosen = {node.name for node in _layers(onnx.load(path))}, []
    for node in graph.node:
        if node.name not in names:
            continue
        chosen.append(node.name)
        waiting = list(node.input)
        while waiting:
            source = made_by.get(waiting.pop())
            if source is not None and source.name in layers:
                chosen.append(source.name)
            elif source is not None:
                waiting += source.input
    return list(dict.fromkeys(chosen))


def _layers(model: Any) -> list[Any]:
    return [node for node in model.graph.node if node.op_type in _OPERATORS]
