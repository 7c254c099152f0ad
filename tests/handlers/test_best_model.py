"""The best student, kept and loaded."""

import copy

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.handlers import MeanSquaredError, from_engine
from torch import nn

from medkd.handlers import BestModel, FinalModel, ModelLoader


class Scale(nn.Module):
    """An image times a number."""

    def __init__(self, factor=0.0):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(float(factor)))

    def forward(self, x):
        return x * self.factor


def make_evaluator(network, path, wrapped=None):
    sample = {"image": torch.ones(1, 1, 4, 4), "label": torch.zeros(1, 1, 4, 4)}
    return SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[sample],
        epoch_length=1,
        network=network,
        key_val_metric={"score": MeanSquaredError(output_transform=from_engine(["pred", "label"]))},
        val_handlers=[BestModel(str(path), wrapped or network)],
    )


def saved(path):
    return float(torch.load(path, weights_only=True)["model"]["factor"])


def test_only_a_better_epoch_is_written(tmp_path):
    network, path = Scale(), tmp_path / "models" / "model.pt"
    evaluator, seen = make_evaluator(network, path), []
    for epoch, factor in enumerate([2.0, 1.0, 2.0, 3.0], start=1):  # the score is the factor's square
        with torch.no_grad():
            network.factor.fill_(factor)
        evaluator.run(epoch)
        seen.append(saved(path))
    assert seen == [2.0, 2.0, 2.0, 3.0]
    assert [p.name for p in path.parent.iterdir()] == ["model.pt"]


def test_the_student_says_in_which_run_it_was_trained(tmp_path):
    network = Scale()
    for number, run in enumerate(["confkd-1", None]):
        evaluator = make_evaluator(network, tmp_path / "unused.pt")
        BestModel(str(tmp_path / f"{number}.pt"), network, run=run).attach(evaluator)
        evaluator.run(1)
        assert torch.load(tmp_path / f"{number}.pt", weights_only=True)["run"] == run


def test_a_resumed_evaluator_does_not_forget_the_best(tmp_path):
    network, path = Scale(2.0), tmp_path / "model.pt"
    evaluator = make_evaluator(network, path)
    evaluator.state.best_metric, evaluator.state.best_metric_epoch = 100.0, 1
    evaluator.run(2)
    assert not path.exists()


def test_what_a_wrapper_wraps_is_saved(tmp_path):
    network = Scale(2.0)
    wrapper = nn.Module()
    wrapper.module = network
    make_evaluator(network, tmp_path / "model.pt", wrapper).run(1)
    assert saved(tmp_path / "model.pt") == 2.0


def test_only_the_first_process_writes(tmp_path):
    evaluator = make_evaluator(Scale(2.0), tmp_path / "model.pt")
    evaluator.state.rank = 1
    evaluator.run(1)
    assert not (tmp_path / "model.pt").exists()


def load_with(path, network):
    engine = Engine(lambda engine, item: None)
    ModelLoader(str(path), network).attach(engine)
    engine.run([0])


def test_the_loader_fills_the_network_before_the_run(tmp_path, new_network):
    source, target = new_network(), new_network()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(1.0)
    torch.save({"model": source.state_dict()}, tmp_path / "model.pt")
    load_with(tmp_path / "model.pt", target)
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


def test_the_loader_refuses_another_architecture(tmp_path, new_network):
    torch.save({"model": new_network((4, 16)).state_dict()}, tmp_path / "model.pt")
    target = new_network()
    before = copy.deepcopy(target.state_dict())
    with pytest.raises(ValueError, match=r"model\.pt: expected the weights of DualBranchUNet, found others.*shape"):
        load_with(tmp_path / "model.pt", target)
    assert all(torch.equal(before[key], value) for key, value in target.state_dict().items())


def test_the_loader_names_a_file_that_is_missing(tmp_path, new_network):
    with pytest.raises(FileNotFoundError, match=r"none\.pt: expected a trained model"):
        load_with(tmp_path / "none.pt", new_network())


def test_settings_are_kept_with_the_weights_and_what_was_measured_takes_its_place(tmp_path, caplog):
    network, path = Scale(1.0), tmp_path / "model.pt"
    evaluator = make_evaluator(network, path)
    for handlers in evaluator._event_handlers.values():
        handlers.clear()
    settings = {"image_size": [4, 4], "threshold": "auto"}
    BestModel(str(path), network, settings=settings).attach(evaluator)
    evaluator.state.rank, evaluator.state.best_metric_epoch, evaluator.state.epoch = 0, 1, 1
    evaluator.state.metrics = {"threshold": torch.tensor(0.25), "score": 3.0}
    evaluator.fire_event(Events.EPOCH_COMPLETED)
    assert torch.load(path, weights_only=True)["settings"] == {"image_size": [4, 4], "threshold": 0.25}
    trainer = Engine(lambda engine, batch: None)
    evaluator.state.best_metric_epoch = -1
    FinalModel(str(path), network, evaluator, settings=settings).attach(trainer)
    trainer.fire_event(Events.COMPLETED)
    assert torch.load(path, weights_only=True)["settings"] == {"image_size": [4, 4]}
    assert "threshold: expected a validation to calibrate it" in caplog.text
