"""What teacher and student cost to deploy on a CPU: size, arithmetic, memory and latency, side by side in one run.

Batch 1; the runtimes take turns, medians are printed; peak memory is the largest resident set of a process that loads
one network into one runtime and runs it. Weights do not change any of these figures, so they are random by default.

    python benchmarks/latency.py [--teacher b2] [--students b0 lite0] [--size 352] [--rounds 15] [--threads 1 2] [--no-memory]
    python benchmarks/latency.py --teacher unet32 --students unet8 --size 224    # Compact on cardiac slices
    python benchmarks/latency.py --teacher lite2 --students flexible --size 192  # Compact on polyps
"""

import argparse
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from measure import in_turns, peak_memory
from monai.networks.nets import BasicUNet, FlexibleUNet
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from medkd.export import FORMATS
from medkd.networks import ExportedNetwork, PolypPVT
from medkd.quantise import write_int8

RUNTIMES = {
    "PyTorch": (".pt", None),
    "TorchScript": (".ts", "torchscript"),
    "ONNX Runtime": (".onnx", "onnx"),
    "OpenVINO": (".onnx", "openvino"),
    "ONNX Runtime, 8 bits": (".int8.onnx", "onnx"),
    "OpenVINO, 8 bits": (".int8.onnx", "openvino"),
}
UNETS = {"unet8": (8, 8, 16, 32, 64, 8), "unet32": (32, 32, 64, 128, 256, 32)}  # of one channel, four classes
Runner = Callable[[Tensor], Tensor]


def make(name: str) -> nn.Module:
    """A U-Net by its name, or Polyp-PVT by its backbone's; random weights."""
    if name == "flexible":  # that of compact_segmentation/configs/recipes/polyp.yaml
        widths = [32, 24, 16, 12, 8]
        return FlexibleUNet(3, 2, "efficientnet-lite0_tiny", pretrained=False, decoder_channels=widths).eval()
    return (BasicUNet(2, 1, 4, UNETS[name]) if name in UNETS else PolypPVT(name)).eval()


def image(name: str, size: int) -> Tensor:
    """One for the network."""
    return torch.randn(1, 1 if name in UNETS else 3, size, size, generator=torch.Generator().manual_seed(0))


def write(folder: Path, backbone: str, size: int) -> None:
    """The network's files, one per runtime."""
    torch.manual_seed(0)
    network, example = make(backbone), image(backbone, size)
    torch.save(network.state_dict(), folder / f"{backbone}.pt")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        for name, suffix in (("torchscript", ".ts"), ("onnx", ".onnx")):
            FORMATS[name](network, example, folder / f"{backbone}{suffix}", {})
    noise = [torch.randn_like(example).numpy() for _ in range(2)]
    write_int8(folder / f"{backbone}.onnx", folder / f"{backbone}.int8.onnx", noise)


def load(folder: Path, backbone: str, runtime: str) -> Runner:
    """The network in a runtime, with as many threads as PyTorch has now."""
    suffix, name = RUNTIMES[runtime]
    path = folder / f"{backbone}{suffix}"
    if name is not None:
        return ExportedNetwork(path, name)
    network = make(backbone)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network


def use(folder: Path, backbone: str, runtime: str, size: int) -> None:
    """Load and run, for the peak memory."""
    torch.set_num_threads(1)
    runner = load(folder, backbone, runtime)
    with torch.no_grad():
        for _ in range(3):
            runner(image(backbone, size))


def arithmetic(backbone: str, size: int) -> tuple[int, float]:
    """Parameters, and multiply-accumulates of convolutions and matrix products."""
    network = make(backbone)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image(backbone, size))
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops() / 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", default="b2")
    parser.add_argument("--students", nargs="+", default=["b0", "lite0"])
    parser.add_argument("--size", type=int, default=352)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True, help="a process for each row")
    options = parser.parse_args()
    size, names = options.size, (options.teacher, *options.students)
    cells = [(name, runtime) for name in names for runtime in RUNTIMES]
    x = image(options.teacher, size)
    print(
        f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, 1 × {x.shape[1]} × {size}², {options.rounds} rounds\n"
    )
    with tempfile.TemporaryDirectory() as place, torch.no_grad():
        folder = Path(place)
        for name in names:
            write(folder, name, size)
        seconds: dict[int, list[float]] = {}
        for threads in options.threads:
            torch.set_num_threads(threads)
            runners = [load(folder, *cell) for cell in cells]
            times = in_turns([lambda run=run: run(x) for run in runners], options.rounds)
            seconds[threads] = [statistics.median(column) for column in times]
        outputs = [run(x) for run in runners]
        print("| network | parameters | GMACs | runtime | file, MB | peak memory, MiB | " + _heads(options.threads))
        print("|---|---|---|---|---|---|" + "---|" * len(options.threads))
        for number, (name, runtime) in enumerate(cells):
            parameters, macs = arithmetic(name, size)
            file = (folder / f"{name}{RUNTIMES[runtime][0]}").stat().st_size / 1e6
            memory = f"{peak_memory(use, folder, name, runtime, size) / 2**10:.0f}" if options.memory else ""
            latency = " | ".join(f"{1e3 * seconds[threads][number]:.0f}" for threads in options.threads)
            print(
                f"| {name} | {parameters:,} | {macs / 1e9:.2f} | {runtime} | {file:.1f} | {memory} | {latency} |",
                flush=True,
            )
    first = seconds[options.threads[0]]
    eager, onnx = (cells.index((options.students[0], runtime)) for runtime in ("PyTorch", "ONNX Runtime"))
    speedup, difference = first[0] / first[onnx], float((outputs[eager] - outputs[onnx]).abs().max())
    print(f"\nONNX student, {options.threads[0]} thread(s): {speedup:.2f} × faster than the eager teacher (at least 4)")
    print(f"Largest difference of its output to the eager student's: {difference:.1e} (at most 1e-4)")
    return int(speedup < 4 or difference > 1e-4)


def _heads(threads: list[int]) -> str:
    return " | ".join(f"ms, {count} thread(s)" for count in threads) + " |"


if __name__ == "__main__":
    sys.exit(main())
