"""A student step of IKD-MIL against the released arrangement, as ratios measured in one run.

Ours: the teacher without a graph, the losses over the whole batch. Released: the teacher keeps its autograd graph, the
gradient of the same losses flows through it, and they are computed in a loop over the images.

    python benchmarks/ikdmil_step.py [--rounds 8] [--size 256] [--batch 4]
"""

import argparse
import sys

import torch
from measure import Step, peak_memory, ratio
from torch import Tensor

from medkd.losses import FusionDistillationLoss
from medkd.losses.mil import cross_entropy, easy_pixel_weights, soft_dice
from medkd.networks import SideOutputVGG

WCE_WEIGHT = 2.0
MEMORY_STEPS = 3


def networks() -> tuple[SideOutputVGG, SideOutputVGG, torch.optim.Optimizer]:
    torch.manual_seed(0)
    student = SideOutputVGG().train()
    return SideOutputVGG().eval(), student, torch.optim.Adam(student.parameters(), 5e-5)


def data(size: int, batch: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(batch, 3, size, size, generator=generator)
    return {"image": image, "label": (torch.arange(batch) % 2).float()}


def ours(batch: dict[str, Tensor]) -> Step:
    teacher, student, optimizer = networks()
    loss = FusionDistillationLoss(wce_weight=WCE_WEIGHT)

    def step() -> None:
        optimizer.zero_grad()
        with torch.no_grad():
            guide = teacher.outputs(batch["image"])
        loss(student(batch["image"]), batch, guide)["loss"].backward()
        optimizer.step()

    return step


def released(batch: dict[str, Tensor]) -> Step:
    """The same losses, written out image by image, because ours detaches the teacher."""
    teacher, student, optimizer = networks()

    def step() -> None:
        optimizer.zero_grad()
        guide, output = teacher.outputs(batch["image"]), student(batch["image"])
        total = torch.zeros(())
        for number, positive in enumerate(batch["label"].tolist()):
            target = guide.fused[number : number + 1]
            for maps in (*output.sides, output.fused):
                own = maps[number : number + 1]
                dice = soft_dice(own, target) if positive else soft_dice(1 - own, torch.ones_like(own))
                total = total + dice.sum()
            hard = (target > 0.5).float()
            pixels = cross_entropy(output.fused[number : number + 1], hard).flatten(1)
            total = total + WCE_WEIGHT * (easy_pixel_weights(pixels, hard.flatten(1)) * pixels).mean()
        (total / len(batch["label"])).backward()
        optimizer.step()

    return step


def train(make: str, size: int, batch: int) -> None:
    """A few steps, for their peak memory."""
    step = {"ours": ours, "released": released}[make](data(size, batch))
    for _ in range(MEMORY_STEPS):
        step()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args()
    size, batch = options.size, options.batch
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {batch} images of {size}²")
    one, two, faster = ratio(ours(data(size, batch)), released(data(size, batch)), options.rounds)
    print(f"ours {one:.2f} s, released {two:.2f} s, time ratio {faster:.3f} (limit 0.7)")
    memories = [peak_memory(train, make, size, batch) / 2**10 for make in ("ours", "released")]
    print(
        f"ours {memories[0]:.0f} MiB, released {memories[1]:.0f} MiB, peak memory ratio {memories[0] / memories[1]:.3f}"
    )
    return int(faster > 0.7)


if __name__ == "__main__":
    sys.exit(main())
