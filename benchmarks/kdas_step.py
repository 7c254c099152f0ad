"""A training step of KDAS against the released arrangement, as ratios measured in one run.

Ours: the teacher (PVTv2-B2) in eval mode without a graph. Released: the teacher keeps its autograd graph, and the
gradient of the same losses flows through it. Student: PVTv2-B0.

    python benchmarks/kdas_step.py [--rounds 8] [--size 352] [--batch 4]
"""

import sys

import torch
from measure import Step, compare_steps

from medkd.losses import KDASLoss, StructureLoss
from medkd.losses.divergence import kl_divergence
from medkd.losses.kdas import self_attention, symmetric
from medkd.networks import PolypPVT

ALPHA, TEMPERATURE = 0.3, 2.0


def networks() -> tuple[PolypPVT, PolypPVT, torch.optim.Optimizer]:
    torch.manual_seed(0)
    student = PolypPVT("b0").train()
    return PolypPVT("b2").eval(), student, torch.optim.AdamW(student.parameters(), 1e-4)


def data(size: int, batch: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(batch, 3, size, size, generator=generator)
    return {"image": image, "label": (image[:, :1] > 1).float()}


def ours(size: int, batch_size: int) -> Step:
    batch = data(size, batch_size)
    teacher, student, optimizer = networks()
    loss = KDASLoss(alpha=ALPHA, temperature=TEMPERATURE)

    def step() -> None:
        optimizer.zero_grad()
        with torch.no_grad():
            guide = teacher.outputs(batch["image"])
        loss(student(batch["image"]), batch, guide)["loss"].backward()
        optimizer.step()

    return step


def released(size: int, batch_size: int) -> Step:
    """The same losses, written out, because ours detaches the teacher."""
    batch = data(size, batch_size)
    teacher, student, optimizer = networks()
    structure = StructureLoss()

    def step() -> None:
        optimizer.zero_grad()
        guide, maps = teacher.outputs(batch["image"]), student(batch["image"])
        attention = sum(
            kl_divergence(self_attention(t).flatten(1), self_attention(s).flatten(1), temperature=TEMPERATURE).mean()
            for t, s in zip(guide, maps, strict=True)
        )
        guiding = torch.nn.functional.mse_loss(symmetric(maps[1]), symmetric(guide[1]))
        labels = sum(structure(logits, batch["label"]) for logits in maps)
        ((1 - ALPHA) * labels + ALPHA * (attention + guiding)).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    sys.exit(
        compare_steps(
            str(__doc__).splitlines()[0], ours, released, size=352, batch=4, time_limit=0.65, memory_limit=0.6
        )
    )
