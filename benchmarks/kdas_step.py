"""A training step of KDAS against the released arrangement, as ratios measured in one run.

Ours: the teacher (PVTv2-B2) in eval mode without a graph. Released: the teacher keeps its autograd graph, and the
gradient of the same losses flows through it. Student: PVTv2-B0.

    python benchmarks/kdas_step.py [--rounds 8] [--size 352] [--batch 4]
"""

import argparse
import sys

import torch
from measure import Step, peak_memory, ratio

from medkd.losses import KDASLoss, StructureLoss
from medkd.losses.divergence import kl_divergence
from medkd.losses.kdas import self_attention, symmetric
from medkd.networks import PolypPVT

ALPHA, TEMPERATURE = 0.3, 2.0
MEMORY_STEPS = 3


def networks() -> tuple[PolypPVT, PolypPVT, torch.optim.Optimizer]:
    torch.manual_seed(0)
    student = PolypPVT("b0").train()
    return PolypPVT("b2").eval(), student, torch.optim.AdamW(student.parameters(), 1e-4)


def data(size: int, batch: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(batch, 3, size, size, generator=generator)
    return {"image": image, "label": (image[:, :1] > 1).float()}


def ours(batch: dict[str, torch.Tensor]) -> Step:
    teacher, student, optimizer = networks()
    loss = KDASLoss(alpha=ALPHA, temperature=TEMPERATURE)

    def step() -> None:
        optimizer.zero_grad()
        with torch.no_grad():
            guide = teacher.outputs(batch["image"])
        loss(student(batch["image"]), batch, guide)["loss"].backward()
        optimizer.step()

    return step


def released(batch: dict[str, torch.Tensor]) -> Step:
    """The same losses, written out, because ours detaches the teacher."""
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


def train(make: str, size: int, batch: int) -> None:
    """A few steps, for their peak memory."""
    step = {"ours": ours, "released": released}[make](data(size, batch))
    for _ in range(MEMORY_STEPS):
        step()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--size", type=int, default=352)
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args()
    size, batch = options.size, options.batch
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {batch} images of {size}², b2 to b0")
    one, two, faster = ratio(ours(data(size, batch)), released(data(size, batch)), options.rounds)
    print(f"ours {one:.2f} s, released {two:.2f} s, time ratio {faster:.3f} (limit 0.65)")
    memories = [peak_memory(train, make, size, batch) / 2**10 for make in ("ours", "released")]
    smaller = memories[0] / memories[1]
    print(f"ours {memories[0]:.0f} MiB, released {memories[1]:.0f} MiB, peak memory ratio {smaller:.3f} (limit 0.6)")
    return int(faster > 0.65 or smaller > 0.6)


if __name__ == "__main__":
    sys.exit(main())
