"""A student step of IKD-MIL against the released arrangement, as ratios measured in one run.

Ours: the teacher without a graph, the losses over the whole batch. Released: the teacher keeps its autograd graph, the
gradient of the same losses flows through it, and they are computed in a loop over the images.

    python benchmarks/ikdmil_step.py [--rounds 8] [--size 256] [--batch 4]
"""

import sys

import torch
from measure import Step, compare_steps
from torch import Tensor

from medkd.losses import FusionDistillationLoss
from medkd.losses.mil import cross_entropy, easy_pixel_weights, soft_dice
from medkd.networks import SideOutputVGG

WCE_WEIGHT = 2.0


def networks() -> tuple[SideOutputVGG, SideOutputVGG, torch.optim.Optimizer]:
    torch.manual_seed(0)
    student = SideOutputVGG().train()
    return SideOutputVGG().eval(), student, torch.optim.Adam(student.parameters(), 5e-5)


def data(size: int, batch: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(batch, 3, size, size, generator=generator)
    return {"image": image, "label": (torch.arange(batch) % 2).float()}


def ours(size: int, batch_size: int) -> Step:
    batch = data(size, batch_size)
    teacher, student, optimizer = networks()
    loss = FusionDistillationLoss(wce_weight=WCE_WEIGHT)

    def step() -> None:
        optimizer.zero_grad()
        with torch.no_grad():
            guide = teacher.outputs(batch["image"])
        loss(student(batch["image"]), batch, guide)["loss"].backward()
        optimizer.step()

    return step


def released(size: int, batch_size: int) -> Step:
    """The same losses, written out image by image, because ours detaches the teacher."""
    batch = data(size, batch_size)
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


if __name__ == "__main__":
    sys.exit(compare_steps(str(__doc__).splitlines()[0], ours, released, size=256, batch=4, time_limit=0.7))
