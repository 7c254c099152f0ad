"""Mixed precision (`amp: auto`) against float32, and `channels_last` then: ratios of times of steps in turns, a Markdown table.

A step is what a trainer does: forward in an AutocastInferer, loss in float32, backward, optimiser. Forward alone is in eval mode,
one image. That of `channels_last` is to the other memory format, both in mixed precision. Ratios below 1 are time saved; they hold
for one machine, and on another the command tells its own.

    python benchmarks/precision.py [--rounds 8] [--threads 1] [--device cpu] [--only Compact]
"""

import argparse
import platform
import sys
from collections.abc import Callable
from typing import Any

import torch
from measure import Step, ratio
from monai.inferers import SimpleInferer
from monai.networks.nets import BasicUNet
from torch import nn

from medkd.engines import AutocastInferer, autocast_dtype
from medkd.networks import DualBranchUNet, EfficientNetLite, PolypPVT, SideOutputNetwork, SideOutputVGG

# Network, images of a batch, channels, side of the image: the batches of the bundles, or the side that fits 2 cores.
CASES: dict[str, tuple[Callable[[], nn.Module], int, int, int]] = {
    "DualBranchUNet (ConfKD)": (lambda: DualBranchUNet(2, 1, 4), 12, 1, 128),
    "PolypPVT on PVTv2-B0 (KDAS)": (lambda: PolypPVT("b0"), 8, 3, 192),
    "PolypPVT on Lite0": (lambda: PolypPVT("lite0"), 16, 3, 192),
    "PolypPVT on the tiny Lite0": (lambda: PolypPVT("lite0_tiny", channels=16), 16, 3, 192),
    "SideOutputVGG (IKD-MIL)": (SideOutputVGG, 16, 3, 96),
    "SideOutputNetwork on Lite0": (lambda: SideOutputNetwork(EfficientNetLite("lite0")), 16, 3, 96),
    "BasicUNet of 8 to 64 channels (Compact)": (lambda: BasicUNet(2, 1, 4, (8, 8, 16, 32, 64, 8)), 12, 1, 160),
    "BasicUNet of 32 to 256 channels (Compact's teacher)": (
        lambda: BasicUNet(2, 1, 4, (32, 32, 64, 128, 256, 32)),
        12,
        1,
        160,
    ),
}


def tensors(output: Any) -> list[torch.Tensor]:
    """The maps of a network's output."""
    return [output] if isinstance(output, torch.Tensor) else [one for value in output for one in tensors(value)]


def training(
    name: str, dtype: torch.dtype | None, device: str, memory_format: torch.memory_format = torch.contiguous_format
) -> Step:
    """A step of training."""
    network, image = _prepared(name, device)
    network.to(memory_format=memory_format)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    inferer = AutocastInferer(SimpleInferer(), dtype)

    def step() -> None:
        optimizer.zero_grad()
        loss = torch.stack([one.square().mean() for one in tensors(inferer(image, network.train()))]).sum()
        loss.backward()
        optimizer.step()
        _wait(device)

    return step


def forward(name: str, dtype: torch.dtype | None, device: str) -> Step:
    """One image in eval mode."""
    network, image = _prepared(name, device)
    inferer = AutocastInferer(SimpleInferer(), dtype)

    def step() -> None:
        with torch.no_grad():
            inferer(image[:1], network.eval())
        _wait(device)

    return step


def _prepared(name: str, device: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    make, batch, channels, side = CASES[name]
    return make().to(device), torch.randn(batch, channels, side, side, device=device)


def _wait(device: str) -> None:
    if device != "cpu":
        torch.accelerator.synchronize()


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="", metavar="TEXT", help="networks whose names contain it")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dtype = autocast_dtype("auto", options.device)
    if dtype is None:
        print(f"{options.device}: amp: auto is float32 here, there is nothing to compare")
        return 0
    print(
        f"{dtype}, {options.device} ({_name(options.device)}), torch {torch.__version__}, {options.threads} threads\n"
    )
    print(
        "| network | batch | training step, float32 | ratio | then channels_last | one image, float32 | ratio |\n"
        "|---|---|---|---|---|---|---|"
    )
    for name, (_, batch, _, side) in CASES.items():
        if options.only not in name:
            continue
        cells = []
        for make in (training, forward):
            mixed, full = (make(name, kind, options.device) for kind in (dtype, None))
            _, seconds, saved = ratio(mixed, full, options.rounds)
            cells += [f"{1000 * seconds:.0f} ms", f"{saved:.2f}"]
        last, first = (
            training(name, dtype, options.device, form) for form in (torch.channels_last, torch.contiguous_format)
        )
        cells.insert(2, f"{ratio(last, first, options.rounds)[2]:.2f}")
        print(f"| {name} | {batch} × {side}² | {' | '.join(cells)} |", flush=True)
    return 0


def _name(device: str) -> str:
    if device == "cpu":
        return str(torch.cpu.get_capabilities().get("cpu_name", platform.processor()))
    return torch.cuda.get_device_name(device)


if __name__ == "__main__":
    sys.exit(main())
