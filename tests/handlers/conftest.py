"""What the tests of the handlers share: a small real training."""

import pytest
import torch

from medkd.engines import DistillationTrainer
from medkd.losses import ConfKDLoss
from medkd.networks import DualBranchUNet


def _batches(count):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.randn(2, 1, 16, 16, generator=generator),
            "label": torch.randint(0, 3, (2, 1, 16, 16), generator=generator),
            "strong": torch.tensor([True, False]),
        }
        for _ in range(count)
    ]


@pytest.fixture
def new_network():
    """Networks that start from the same weights."""

    def make(channels=(4, 8)):
        torch.manual_seed(0)
        return DualBranchUNet(2, 1, 3, channels)

    return make


@pytest.fixture
def new_trainer(new_network):
    """Trainers on the same batches."""

    def make(handlers=(), *, network=None, optimizer=None, loss=None, steps=3, max_epochs=1, **kwargs):
        network = network or new_network()
        return DistillationTrainer(
            device=torch.device("cpu"),
            max_epochs=max_epochs,
            train_data_loader=_batches(steps),
            epoch_length=steps,
            network=network,
            optimizer=optimizer or torch.optim.SGD(network.parameters(), lr=0.01),
            loss_function=loss or ConfKDLoss(kl_on="all"),
            train_handlers=list(handlers),
            amp=False,
            **kwargs,
        )

    return make
