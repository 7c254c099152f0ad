"""Side-output networks: VGG against recorded outputs of the authors' code, and any other backbone."""

import numpy as np
import pytest
import torch
from monai.networks.nets.resnet import ResNetFeatures
from transformers import ResNetBackbone, ResNetConfig

from medkd.networks import SideOutputNetwork, SideOutputs, SideOutputVGG

from .conftest import REFERENCE, official


def torchvision(*, normalised):
    """A state dict of VGG16 as torchvision publishes it; every tensor is filled with its layer's number."""
    state, number, width = {}, 0, 3
    for stage in ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)):
        for after in stage:
            state[f"features.{number}.weight"] = torch.full((after, width, 3, 3), float(number))
            state[f"features.{number}.bias"] = torch.full((after,), float(number))
            if normalised:
                names = ("weight", "bias", "running_mean", "running_var")
                state |= {f"features.{number + 1}.{name}": torch.full((after,), number + 1.0) for name in names}
            number, width = number + (3 if normalised else 2), after
        number += 1
    state["classifier.0.weight"] = torch.zeros(2, 2)
    return state


def test_outputs_agree_with_the_released_code(saved):
    network = SideOutputVGG.from_official(saved(official("vgg_mil"))).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_738_243
    with np.load(REFERENCE / "vgg_mil.npz") as recorded, torch.no_grad():
        x, *maps = (torch.as_tensor(recorded[f"vgg_mil/{name}"]) for name in ("x", "side1", "side2", "side3", "fused"))
        found = network.outputs(x)
        torch.testing.assert_close(network(x), found.fused)
    for probability, expected in zip((*found.sides, found.fused), maps, strict=True):
        assert ((probability - expected).abs() / expected).max() < 1e-4


def test_misfit_of_a_released_checkpoint_is_named(saved):
    weights = official("vgg_mil")
    del weights["decoder2.0.bias"]
    with pytest.raises(ValueError, match=r"1 missing \(heads.1.bias\)"):
        SideOutputVGG.from_official(saved(weights))


@pytest.mark.parametrize("normalised", [True, False])
def test_imagenet_weights_of_torchvision_load(saved, normalised):
    network = SideOutputVGG(str(saved(torchvision(normalised=normalised))))
    last = network.backbone.stages[2][2]  # torchvision's layers 20 and 21, or 14 without BatchNorm
    assert last[0].weight.unique().tolist() == [20.0 if normalised else 14.0]
    assert last[1].running_mean.unique().tolist() == [21.0 if normalised else 0.0]
    assert network.heads[0].weight.std() > 0


@pytest.mark.parametrize("normalised", [True, False])
def test_incomplete_imagenet_weights_are_refused(saved, normalised):
    weights = torchvision(normalised=normalised)
    del weights["features.0.weight"]
    with pytest.raises(ValueError, match=r"1 missing \(stages.0.0.0.weight\)"):
        SideOutputVGG(str(saved(weights)))


def test_training_mode_gives_every_map():
    output = SideOutputVGG().train()(torch.randn(2, 3, 48, 40))
    assert isinstance(output, SideOutputs)
    assert [tuple(side.shape) for side in output.sides] == [(2, 1, 48, 40)] * 3
    expected = 0.3 * output.sides[0] + 0.3 * output.sides[1] + 0.4 * output.sides[2]
    torch.testing.assert_close(output.prediction, expected)


def monai_resnet():
    return ResNetFeatures("resnet18", pretrained=False, spatial_dims=2, in_channels=3)


def transformers_resnet():
    stages = ["stage1", "stage2", "stage3"]
    return ResNetBackbone(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 32, 64], out_features=stages))


@pytest.mark.parametrize(("backbone", "levels"), [(monai_resnet, [1, 2, 3]), (transformers_resnet, None)])
def test_other_backbones_become_side_output_networks(backbone, levels):
    network = SideOutputNetwork(backbone(), levels=levels).eval()
    assert network.backbone.training is False
    with torch.no_grad():
        maps = network.outputs(torch.randn(1, 3, 64, 96))
    assert [tuple(side.shape) for side in maps.sides] == [(1, 1, 64, 96)] * 3
    assert 0 < float(maps.fused.min()) < float(maps.fused.max()) < 1


def test_fusion_weights_must_match_the_levels():
    with pytest.raises(ValueError, match="a fusion weight for each of 3 levels, got 2"):
        SideOutputNetwork(transformers_resnet(), fusion_weights=[0.5, 0.5])


def test_backbone_without_levels_is_refused():
    with pytest.raises(TypeError, match="gives feature maps, got Tensor"):
        SideOutputNetwork(torch.nn.Conv2d(3, 4, 1))
