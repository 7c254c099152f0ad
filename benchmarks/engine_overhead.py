"""What the engine and the dual branch cost, as ratios measured in one run.

1. A step of DistillationTrainer against a hand-written PyTorch loop: same network, loss and batches in memory.
2. A step of our arrangement (one pass, the teacher's decoder on strong images alone) against the released one (a pass on
   cat(F, F, W), both decoders on everything): 2 strong + 10 weak images.

The two sides of a ratio take turns, step by step, and medians are compared; peak memory is each side's largest resident
set in a process of its own.

    python benchmarks/engine_overhead.py [--steps 200] [--size 96]
"""

import argparse
import sys
from collections.abc import Iterator

import torch
from ignite.engine import Engine, Events
from measure import WARM_UP, Step, peak_memory, ratio

from medkd.engines import DistillationTrainer, PrepareSelection
from medkd.losses import ConfKDLoss
from medkd.networks import DualBranchOutput, DualBranchUNet

CLASSES, STRONG, WEAK = 4, 2, 10
MEMORY_STEPS = 6


def batch(size: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(STRONG + WEAK, 1, size, size, generator=generator)
    label = torch.randint(0, CLASSES, (STRONG + WEAK, 1, size, size), generator=generator)
    label[STRONG:][torch.rand(WEAK, 1, size, size, generator=generator) > 0.01] = 255
    return {"image": image, "label": label, "strong": torch.arange(STRONG + WEAK) < STRONG}


def network() -> tuple[DualBranchUNet, torch.optim.Optimizer]:
    torch.manual_seed(0)
    made = DualBranchUNet(2, 1, CLASSES, (16, 32, 64, 128)).train()
    return made, torch.optim.Adam(made.parameters(), 1e-3)


def plain_loop(data: dict[str, torch.Tensor]) -> Step:
    """What a user would write by hand."""
    net, optimizer = network()
    loss = ConfKDLoss()

    def step() -> None:
        optimizer.zero_grad()
        loss(net(data["image"], data["strong"]), data)["loss"].backward()
        optimizer.step()

    return step


def engine(data: dict[str, torch.Tensor], steps: int) -> Step:
    """The trainer, advanced one step at a time by the loader it pulls from."""
    net, optimizer = network()

    trainer = DistillationTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=[data] * steps,
        epoch_length=steps,
        network=net,
        optimizer=optimizer,
        loss_function=ConfKDLoss(),
        prepare_batch=PrepareSelection({"strong": "strong"}),
    )
    pauses = _run_stepwise(trainer)
    return lambda: next(pauses)


def _run_stepwise(trainer: DistillationTrainer) -> Iterator[None]:
    """Run the engine so that each ``next`` is one iteration: ignite resumes where a handler interrupted it."""
    trainer.add_event_handler(Events.ITERATION_COMPLETED(event_filter=_not_the_last), lambda engine: engine.interrupt())
    while True:
        trainer.run()
        yield


def _not_the_last(engine: Engine, iteration: int) -> bool:
    return iteration < engine.state.epoch_length


def released(data: dict[str, torch.Tensor]) -> Step:
    """The released arrangement with the same network: cat(F, F, W) through everything."""
    net, optimizer = network()
    loss, strong = ConfKDLoss(), data["strong"]
    tripled = torch.cat([data["image"][strong], data["image"][strong], data["image"][~strong]])

    def step() -> None:
        optimizer.zero_grad()
        output = net(tripled)
        ours = DualBranchOutput(output.teacher[:STRONG], output.student[STRONG:])
        loss(ours, data)["loss"].backward()
        optimizer.step()

    return step


def train(make: str, size: int) -> None:
    """A few steps, for their peak memory."""
    data = batch(size)
    step = engine(data, MEMORY_STEPS) if make == "engine" else plain_loop(data)
    for _ in range(MEMORY_STEPS):
        step()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--size", type=int, default=96)
    options = parser.parse_args()
    data = batch(options.size)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.steps} steps, {options.size}²")
    ours, plain, overhead = ratio(engine(data, options.steps + WARM_UP), plain_loop(data), options.steps)
    print(f"engine {ours * 1e3:.0f} ms, plain loop {plain * 1e3:.0f} ms, time ratio {overhead:.2f} (limit 1.02)")
    memory = peak_memory(train, "engine", options.size) / peak_memory(train, "plain", options.size)
    print(f"peak memory ratio {memory:.3f} (limit 1.05)")
    ours, theirs, arrangement = ratio(plain_loop(data), released(data), options.steps)
    print(f"one pass {ours * 1e3:.0f} ms, released {theirs * 1e3:.0f} ms, time ratio {arrangement:.3f} (limit 0.65)")
    return int(overhead > 1.02 or memory > 1.05 or arrangement > 0.65)


if __name__ == "__main__":
    sys.exit(main())
