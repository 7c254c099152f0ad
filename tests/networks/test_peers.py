"""Mean teacher and two networks: the average's arithmetic, what learns, what is deployed, and that a state is whole."""

import copy

import pytest
import torch
from torch import nn

from medkd.networks import DualBranchOutput, DualBranchUNet, MeanTeacher, TwoNetworks

PEERS = {
    "mean teacher": lambda **options: MeanTeacher(unet(**options), decay=0.6, noise=0.0),
    "two networks": lambda **options: TwoNetworks(unet(**options), unet(seed=1, **options)),
}


@pytest.fixture(params=list(PEERS))
def make(request):
    return PEERS[request.param]


def unet(seed=0, **options):
    torch.manual_seed(seed)
    return DualBranchUNet(2, 1, 3, (2, 4), **options)


def images(batch=4):
    return torch.randn(batch, 1, 12, 16, generator=torch.Generator().manual_seed(1))


def trained(network, steps, rate=0.3):
    """The networks that are optimised after each of some steps, as plain copies."""
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        output = network(images().to(next(network.parameters()).dtype))
        (output.student - 1).square().mean().add((output.teacher - output.student).square().mean()).backward()
        optimizer.step()
        yield copy.deepcopy(network)


def values(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize(
    ("decay", "shares"),  # of the average that is kept before steps 0, 1, 2, …: the smaller of decay and 1 - 1/(n + 1)
    [(0.99, [0, 1 / 2, 2 / 3, 3 / 4]), (0.6, [0, 0.5, 0.6, 0.6]), (0.0, [0, 0, 0, 0])],
)
def test_the_average_is_that_of_a_loop_by_hand(decay, shares):
    network = MeanTeacher(unet(), decay=decay).double()
    before = values(network.student)  # what the next step's average takes in: the student as the step finds it
    expected = torch.zeros_like(before)
    for share, after in zip(shares, trained(network, 4), strict=False):
        expected = share * expected + (1 - share) * before
        torch.testing.assert_close(values(after.module), expected, rtol=1e-6, atol=1e-8)
        assert not torch.equal(values(after.student), before)
        before = values(after.student)


def test_the_average_never_has_gradients_and_no_optimiser_changes_it():
    network = MeanTeacher(unet(), noise=0.0)
    start = values(network.module)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1, weight_decay=0.1)
    output = network(images())
    (output.teacher.sum() + output.student.square().sum()).backward()
    optimizer.step()
    assert all(parameter.grad is None for parameter in network.module.parameters())
    assert torch.equal(values(network.module), start)
    assert not torch.equal(values(network.student), start)


def test_statistics_of_a_batch_normalisation_are_the_student_s():
    network = MeanTeacher(unet(norm="batch"), noise=0.0)
    network(images())
    network(images() + 3)
    own, mine = dict(network.student.named_buffers()), dict(network.module.named_buffers())
    assert own.keys() == mine.keys()
    # Each batch has moved them once, without noise alike: in the second step the weights are still the same.
    for key in own:
        torch.testing.assert_close(mine[key], own[key])
    assert own["encoder.levels.0.conv_0.adn.N.num_batches_tracked"] == 2


def test_the_average_sees_noise_of_its_own_that_is_clipped():
    seen = []
    network = MeanTeacher(nn.Conv2d(1, 3, 1), noise=0.2)
    network.module.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    x = torch.randn(8, 1, 64, 64)
    network(x)
    noise = seen[0] - x
    assert noise.std().item() == pytest.approx(0.2, rel=0.05)
    assert noise.abs().max().item() == pytest.approx(0.4, rel=1e-3)
    network.eval()(x)
    assert torch.equal(seen[1], x)


def test_training_gives_both_and_eval_what_is_deployed(make):
    network = make()
    *_, network = trained(network, 2)
    output = network.train()(images())
    assert isinstance(output, DualBranchOutput)
    assert output.teacher.shape == output.student.shape == (4, 3, 12, 16)
    assert not torch.equal(output.teacher, output.student)
    deployed = network.eval()(images())
    assert isinstance(deployed, torch.Tensor)
    assert torch.equal(deployed, network.module.eval()(images()))
    assert isinstance(network.module, DualBranchUNet)


def test_of_two_branches_the_student_s_alone_is_decoded(make):
    network = make()
    calls = []
    for name, module in network.named_modules():
        if name in {"student.teacher", "module.teacher", "second.teacher"}:
            module.register_forward_pre_hook(lambda *_: calls.append(1))
    network(images())
    network.eval()(images())
    assert not calls


def test_both_of_two_networks_learn():
    first, second = unet(), unet(seed=1)
    starts = values(first), values(second)
    *_, network = trained(TwoNetworks(first, second), 1)
    assert not torch.equal(values(network.module), starts[0])
    assert not torch.equal(values(network.second), starts[1])


def test_a_training_goes_on_from_its_state(make):
    *_, stopped, whole = trained(make(), 4)
    again = make()
    again.load_state_dict(stopped.state_dict())
    (again,) = trained(again, 1)
    state, expected = again.state_dict(), whole.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


@pytest.mark.parametrize("options", [{"decay": 1.0}, {"decay": -0.1}, {"noise": -1.0}, {"noise": float("nan")}])
def test_options_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=rf"{name} must be .*, got {options[name]}"):
        MeanTeacher(nn.Conv2d(1, 3, 1), **options)


def test_two_networks_of_one_start_are_refused():
    with pytest.raises(ValueError, match="start from different weights, got the same weights twice"):
        TwoNetworks(unet(), unet())
    assert TwoNetworks(nn.Conv2d(1, 3, 1), nn.Conv2d(1, 3, 3, padding=1))(images()).teacher.shape == (4, 3, 12, 16)
