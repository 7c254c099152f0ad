"""The dual-branch networks: shapes, what each decoder sees and how often it runs, and export."""

import pytest
import torch
from monai.networks.nets import UNet
from torch import nn

from medkd.networks import DualBranch, DualBranchFlexibleUNet, DualBranchOutput, DualBranchUNet

SIZES = {2: (17, 22), 3: (9, 12, 10)}


@pytest.fixture(params=[2, 3], ids=["2D", "3D"])
def dim(request):
    return request.param


def make(dim, **options):
    torch.manual_seed(0)
    return DualBranchUNet(dim, 1, 3, (2, 4, 6), **options)


def images(dim, batch=4):
    return torch.randn(batch, 1, *SIZES[dim], generator=torch.Generator().manual_seed(1))


def count_calls(module):
    """Batch sizes of the features that a decoder is called with."""
    calls = []

    def note(_, arguments):
        features = arguments[0]
        calls.append(len(features if isinstance(features, torch.Tensor) else features[0]))

    module.register_forward_pre_hook(note)
    return calls


def test_training_gives_both_branches_at_the_size_of_an_odd_image(dim):
    output = make(dim).train()(images(dim))
    assert isinstance(output, DualBranchOutput)
    assert output.teacher.shape == output.student.shape == (4, 3, *SIZES[dim])
    assert not torch.equal(output.teacher, output.student)
    assert output.prediction is output.student


def test_eval_gives_the_student_alone(dim):
    network = make(dim).eval()
    found = network(images(dim))
    assert isinstance(found, torch.Tensor)
    assert torch.equal(found, network.outputs(images(dim)).student)


def test_the_teacher_of_the_strong_images_is_that_of_the_whole_batch(dim):
    network, strong = make(dim).eval(), torch.tensor([False, True, False, True])
    full, part = network.outputs(images(dim)), network.outputs(images(dim), strong)
    assert part.teacher.shape[0] == 2
    torch.testing.assert_close(part.teacher, full.teacher[strong])
    torch.testing.assert_close(part.student, full.student)


def test_without_strong_images_the_teacher_is_empty_and_gradients_reach_the_student(dim):
    network = make(dim).train()
    output = network(images(dim), strong=torch.zeros(4, dtype=torch.bool))
    assert output.teacher.shape == (0, 3, *SIZES[dim])
    (output.teacher.sum() + output.student.square().sum()).backward()
    assert all(p.grad is None for p in network.teacher.parameters())
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.student.parameters())


@pytest.mark.parametrize(
    ("strong", "teacher"),
    [(None, [4]), ([True] * 4, [4]), ([False, True, True, False], [2]), ([False] * 4, [])],
    ids=["unsaid", "all", "two", "none"],
)
def test_each_decoder_runs_once_and_the_teachers_on_strong_images_only(dim, strong, teacher):
    network = make(dim).train()
    calls = {name: count_calls(getattr(network, name)) for name in ("encoder", "teacher", "student")}
    network(images(dim), strong=None if strong is None else torch.tensor(strong))
    assert calls == {"encoder": [4], "teacher": teacher, "student": [4]}


def test_the_teacher_does_not_run_in_eval(dim):
    network = make(dim).eval()
    calls = count_calls(network.teacher)
    network(images(dim))
    assert calls == []


def test_torchscript_gives_what_the_network_gives(dim):
    network = make(dim).eval()
    scripted = torch.jit.script(network)
    torch.testing.assert_close(scripted(images(dim)), network(images(dim)))


@pytest.mark.parametrize("upsample", ["deconv", "pixelshuffle", "nontrainable"])
def test_every_way_to_upsample_keeps_the_size(upsample):
    assert make(2, upsample=upsample).eval()(images(2)).shape == (4, 3, *SIZES[2])


def test_the_options_reach_every_convolution_of_encoder_and_decoders():
    network = make(2, act="prelu", norm="batch", dropout=0.25)
    kinds = [type(module) for module in network.modules()]
    assert nn.PReLU in kinds
    assert nn.BatchNorm2d in kinds
    assert nn.InstanceNorm2d not in kinds
    assert nn.LeakyReLU not in kinds
    for part in (network.encoder, network.teacher, network.student):
        dropouts = [m.p for m in part.modules() if isinstance(m, nn.Dropout2d | nn.Dropout)]
        assert dropouts
        assert set(dropouts) == {0.25}


@pytest.mark.parametrize("channels", [(), (8,)])
def test_fewer_than_two_levels_are_refused(channels):
    with pytest.raises(ValueError, match=r"channels must name two resolution levels or more, got \("):
        DualBranchUNet(2, 1, 2, channels)


def test_a_unet_trunk_under_two_heads():
    torch.manual_seed(0)
    trunk = UNet(2, 1, 8, channels=(4, 8), strides=(2,))
    network = DualBranch(trunk, nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)).eval()
    x, strong = torch.randn(3, 1, 16, 16), torch.tensor([True, False, True])
    full, part = network.outputs(x), network.outputs(x, strong)
    assert full.student.shape == (3, 4, 16, 16)
    torch.testing.assert_close(part.teacher, full.teacher[strong])


@pytest.mark.parametrize("backbone", ["resnet18", "efficientnet-lite0"])
def test_an_encoder_of_flexible_unet_under_two_of_its_decoders(backbone):
    torch.manual_seed(0)
    network = DualBranchFlexibleUNet(1, 4, backbone, decoder_channels=(16, 8, 8, 4, 4)).eval()
    calls = {name: count_calls(getattr(network, name)) for name in ("teacher", "student")}
    x, strong = torch.randn(3, 1, 32, 64), torch.tensor([False, False, True])
    part = network.outputs(x, strong)
    assert calls == {"teacher": [1], "student": [3]}
    assert part.student.shape == (3, 4, 32, 64)
    assert not torch.equal(part.teacher, part.student[strong])
    torch.testing.assert_close(part.teacher, network.outputs(x).teacher[strong], rtol=1e-4, atol=1e-5)


def test_sides_that_do_not_fit_flexible_unet_are_refused():
    with pytest.raises(ValueError, match=r"multiples of 32, got \(64, 48\); pad or resize"):
        DualBranchFlexibleUNet(1, 4)(torch.zeros(1, 1, 64, 48))
