"""The map of a layer beside the prediction: which it is, what is trained, and what is deployed."""

import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import nn

from medkd.handlers.best_model import _save
from medkd.networks import FeatureNetwork, with_feature


def unet(features=(8, 8, 16, 32, 64, 8), dims=2):
    torch.manual_seed(0)
    return BasicUNet(dims, 1, 3, features)


def test_the_map_is_that_of_the_layer() -> None:
    net = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 4, 1))
    image = torch.randn(2, 1, 16, 12)
    found = FeatureNetwork(net, "1", [1, 16, 12])(image)
    assert torch.equal(found.feature, net[:2](image))
    assert torch.equal(found.prediction, net(image))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_student_s_map_gets_the_teacher_s_channels(dims) -> None:
    shape, image = [1, *[32] * dims], torch.randn(1, 1, *[32] * dims)
    teacher = FeatureNetwork(unet((16, 16, 16, 32, 64, 24), dims), "upcat_1", shape)
    student = FeatureNetwork(unet(dims=dims), "upcat_2", shape, channels=24)
    assert student(image).feature.shape[1] == teacher(image).feature.shape[1] == 24
    student(image).feature.sum().backward()
    assert student.adapter.weight.grad is not None
    assert next(student.module.parameters()).grad is not None


def test_in_eval_mode_it_is_the_plain_network() -> None:
    net, image = unet().eval(), torch.randn(1, 1, 32, 32)
    network = FeatureNetwork(net, "upcat_1", [1, 32, 32]).eval()
    assert torch.equal(network(image), net(image))
    assert network.outputs(image).feature.shape == (1, 8, 32, 32)  # what a frozen teacher is asked for
    assert network._feature is None  # else the graph would live on


def test_the_plain_network_is_what_is_kept(tmp_path) -> None:
    network = FeatureNetwork(unet(), "upcat_1", [1, 32, 32])
    wrapped = nn.Module()  # as by DDP
    wrapped.module = network
    for number, one in enumerate((network, wrapped)):
        _save(tmp_path / f"{number}.pt", one, {}, None, 1)
        unet().load_state_dict(torch.load(tmp_path / f"{number}.pt", weights_only=True)["model"])


def test_its_mode_and_its_random_numbers_are_left_alone() -> None:
    net = unet()
    state = torch.get_rng_state()
    assert FeatureNetwork(net, "upcat_1", [1, 32, 32]).training
    assert torch.equal(torch.get_rng_state(), state)
    assert with_feature(net, None, [1, 32, 32]) is net


def test_another_layer_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"expected a layer of BasicUNet \(conv_0, down_1, .*\), found 'upcat_9'"):
        FeatureNetwork(unet(), "upcat_9", [1, 32, 32])
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 3))
    with pytest.raises(ValueError, match=r"layer 1: expected a map of 4 dimensions, found \[1, 1\]"):
        FeatureNetwork(pooled, "1", [1, 32, 32])
