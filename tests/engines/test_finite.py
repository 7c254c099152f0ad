"""A training whose loss is no number."""

import logging

import pytest
import torch
from ignite.engine import Events

from medkd.datasets import MultiScaleLoader, SeededCacheDataset, TwoGroupLoader
from medkd.engines import DistillationTrainer
from medkd.handlers import TrainingState


class Loss:
    """A number but for one image."""

    def __init__(self, broken):
        self.broken = -1 if broken is None else broken

    def __call__(self, output, batch, teacher):
        wrong = (batch["number"].flatten() == self.broken).any()
        return {"loss": output.mean() * (float("nan") if wrong else 1.0)}


def _trainer(folder, *, broken, scales=(1.0,), images=6):
    items = [{"image": f"/clinic/case{n}.png", "number": torch.tensor([n])} for n in range(images)]

    def load(item):
        return {"image": torch.ones(1, 32, 32), "label": torch.zeros(1, 32, 32), "number": item["number"]}

    data = SeededCacheDataset(items, load, cache_rate=0.0, progress=False)
    network = torch.nn.Conv2d(1, 1, 1)
    return DistillationTrainer(
        device=torch.device("cpu"),
        max_epochs=2,
        train_data_loader=MultiScaleLoader(TwoGroupLoader(data, batch_size=2, seed=3), scales=scales),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        loss_function=Loss(broken),
        train_handlers=[TrainingState(str(folder), {"network": network})],
    )


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 2.0)])
def test_it_ends_and_the_log_names_the_images_of_the_step(tmp_path, caplog, scales):
    with caplog.at_level(logging.ERROR), pytest.raises(RuntimeError, match="found none in step") as caught:
        _trainer(tmp_path, broken=4, scales=scales).run()
    (said,) = [record.getMessage() for record in caplog.records if "Images of step" in record.getMessage()]
    assert "/clinic/case4.png" in said
    assert said.count("/clinic/") == 2
    assert "clinic" not in str(caught.value)  # it may be sent to a server
    assert not list(tmp_path.glob("epoch=*"))  # every epoch meets every image


def test_the_last_good_epoch_is_kept(tmp_path):
    trainer = _trainer(tmp_path, broken=None)
    loss = trainer.distillation_loss
    trainer.distillation_loss = lambda *given: {"loss": loss(*given)["loss"] / (trainer.state.epoch < 2)}
    with pytest.raises(RuntimeError, match="in step 1 of epoch 2"):
        trainer.run()
    (kept,) = tmp_path.glob("epoch=*.pt")
    state = torch.load(kept, weights_only=True)
    assert kept.name == "epoch=0001.pt"
    assert all(torch.isfinite(weight).all() for weight in state["network"].values())


def test_a_scaler_of_gradients_leaves_out_single_steps(tmp_path):
    trainer = _trainer(tmp_path, broken=None)
    trainer.add_event_handler(Events.STARTED, lambda e: setattr(e, "scaler", torch.amp.GradScaler("cpu")))
    loss = trainer.distillation_loss
    wrong = {1: float("nan")}  # the gradient is that of the number before it: as if the scaler had left out the step
    trainer.distillation_loss = lambda *given: {"loss": loss(*given)["loss"] + wrong.get(trainer.state.iteration % 3, 0)}
    trainer.run()
    assert trainer.state.epoch == 2
