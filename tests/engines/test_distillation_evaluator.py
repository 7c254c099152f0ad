"""The evaluator that keeps every branch."""

import pytest
import torch
from monai.engines.utils import IterationEvents
from monai.inferers import SliceInferer
from monai.networks.nets import UNet
from torch import nn

from medkd.engines import DistillationEvaluator
from medkd.networks import DualBranchUNet


@pytest.fixture
def network():
    torch.manual_seed(0)
    return DualBranchUNet(2, 1, 3, (4, 8))


@pytest.fixture
def batch():
    return {"image": torch.randn(2, 1, 16, 16), "label": torch.zeros(2, 1, 16, 16)}


def evaluate(network, batch, **kwargs):
    evaluator = DistillationEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[batch],
        epoch_length=1,
        network=network,
        **{"amp": False, "decollate": False, **kwargs},
    )
    evaluator.run()
    return evaluator.state.output


def test_both_branches_are_kept_under_their_names(network, batch):
    output = evaluate(network, batch)
    expected = network.eval().outputs(batch["image"])
    assert torch.equal(output["teacher"], expected.teacher)
    assert torch.equal(output["student"], expected.student)
    assert not torch.equal(output["teacher"], output["student"])
    assert torch.equal(output["label"], batch["label"])
    assert not output["teacher"].requires_grad


def test_the_prediction_is_what_the_network_returns_in_eval_mode(network, batch):
    output = evaluate(network.train(), batch)
    assert torch.equal(output["pred"], network.eval()(batch["image"]))


def test_the_mode_of_the_network_is_restored(network, batch):
    evaluate(network.train(), batch)
    assert network.training


def test_a_volume_is_predicted_slice_by_slice(network):
    volume = {"image": torch.randn(2, 1, 16, 16, 3), "label": torch.zeros(2, 1, 16, 16, 3)}
    output = evaluate(network, volume, inferer=SliceInferer(roi_size=(16, 16), spatial_dim=2, sw_batch_size=4))
    network.eval()
    assert output["teacher"].shape == output["pred"].shape == (2, 3, 16, 16, 3)
    for depth in range(3):
        expected = network.outputs(volume["image"][..., depth])
        torch.testing.assert_close(output["teacher"][..., depth], expected.teacher)
        torch.testing.assert_close(output["pred"][..., depth], expected.student)


def test_large_images_are_predicted_in_windows(network):
    volume = {"image": torch.randn(1, 1, 24, 20, 2), "label": torch.zeros(1, 1, 24, 20, 2)}
    inferer = SliceInferer(roi_size=(16, 16), spatial_dim=2, sw_batch_size=2, overlap=0.25, mode="gaussian")
    output = evaluate(network, volume, inferer=inferer)
    expected = inferer(volume["image"], network.eval())
    torch.testing.assert_close(output["pred"], expected)
    assert output["teacher"].shape == (1, 3, 24, 20, 2)


def test_a_plain_network_is_evaluated_as_monai_does(batch):
    torch.manual_seed(0)
    network = UNet(2, 1, 3, channels=(4, 8), strides=(2,))
    output = evaluate(network, batch)
    assert set(output) == {"image", "label", "pred"}
    assert torch.equal(output["pred"], network.eval()(batch["image"]))


class Wrapped(nn.Module):
    """Hides the methods of what it wraps, as DDP does."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)


def test_the_branches_of_a_wrapped_network_are_found(network, batch):
    output = evaluate(Wrapped(network), batch)
    assert torch.equal(output["teacher"], network.eval().outputs(batch["image"]).teacher)


def test_the_events_of_an_iteration_fire_when_the_output_is_complete(network, batch):
    seen = []

    class Watch:
        def attach(self, engine):
            for event in (IterationEvents.FORWARD_COMPLETED, IterationEvents.MODEL_COMPLETED):
                engine.add_event_handler(event, lambda e, name: seen.append((name, "pred" in e.state.output)), event)

    evaluate(network, batch, val_handlers=[Watch()])
    assert seen == [(IterationEvents.FORWARD_COMPLETED, True), (IterationEvents.MODEL_COMPLETED, True)]
