"""Means of the loss terms over an epoch."""

import pytest
import torch
from ignite.engine import Engine, Events

from medkd.handlers import LossTerms


def run(outputs, *, epochs=1, **kwargs):
    engine = Engine(lambda engine, item: item)
    LossTerms(**kwargs).attach(engine)
    engine.run(outputs, max_epochs=epochs)
    return engine.state.metrics


def test_every_scalar_is_averaged_under_its_prefixed_name():
    outputs = [
        {"loss": torch.tensor(1.0, requires_grad=True), "kl": 2.0, "n": 1, "pred": torch.ones(2, 3)},
        {"loss": torch.tensor(2.0), "kl": 4.0, "n": 4, "pred": torch.ones(2, 3)},
    ]
    assert run(outputs) == pytest.approx({"train_loss": 1.5, "train_kl": 3.0, "train_n": 2.5})


def test_maps_and_vectors_of_one_element_are_no_terms():
    assert run([{"loss": torch.tensor(1.0), "pred": torch.ones(1, 1), "image": torch.ones(1)}]) == {"train_loss": 1.0}


def test_the_label_of_an_image_is_no_term():
    assert run([[{"loss": 1.0, "label": torch.tensor(1.0), "pred": torch.tensor(0.2)}]]) == {"train_loss": 1.0}


def test_the_first_item_of_a_decollated_output_stands_for_all():
    assert run([[{"loss": 1.0}, {"loss": 1.0}], [{"loss": 4.0}]], prefix="val_") == {"val_loss": 2.5}


def test_each_epoch_starts_anew():
    engine, means = Engine(lambda engine, item: {"loss": float(engine.state.epoch * 10 + item)}), []
    LossTerms().attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: means.append(e.state.metrics["train_loss"]))
    engine.run([1, 3], max_epochs=2)
    assert means == [12.0, 22.0]


def test_small_terms_are_not_lost_in_large_sums():
    assert run([{"loss": torch.tensor(1e8)}] + [{"loss": torch.tensor(1.0)}] * 3)["train_loss"] == (1e8 + 3) / 4


def test_the_terms_of_a_real_training_are_its_mean_losses(new_trainer):
    losses = []

    class Watch:
        def attach(self, engine):
            engine.add_event_handler(
                Events.ITERATION_COMPLETED, lambda e: losses.append(float(e.state.output[0]["loss"]))
            )

    trainer = new_trainer([LossTerms(), Watch()])
    trainer.run()
    assert len(losses) == 3
    assert trainer.state.metrics["train_loss"] == pytest.approx(sum(losses) / 3)
    assert {"train_ce", "train_pce", "train_kl", "train_entropy"} <= trainer.state.metrics.keys()
