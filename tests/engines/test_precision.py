"""Mixed precision: which type a device gets, and that only networks compute in it."""

from typing import NamedTuple

import pytest
import torch
from monai.inferers import SimpleInferer, SliceInferer, SlidingWindowInferer
from torch import Tensor, nn

from medkd.engines import AutocastInferer, DistillationEvaluator, DistillationTrainer, autocast_dtype
from medkd.networks import DualBranchUNet, SideOutputVGG

BFLOAT16 = torch.bfloat16


def cpu(monkeypatch, *names):
    """The CPU has these of the instructions that are asked for."""
    every = dict.fromkeys(("avx2", "avx512_f", "avx512_bf16", "amx_bf16", "bf16", "sve_bf16"), False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {**every, **dict.fromkeys(names, True), "cpu_name": "x"})


@pytest.mark.parametrize("amp", ["auto", True])
@pytest.mark.parametrize("instruction", ["avx512_bf16", "amx_bf16", "bf16", "sve_bf16"])
def test_a_cpu_with_instructions_for_it_computes_in_bfloat16(monkeypatch, amp, instruction):
    cpu(monkeypatch, "avx2", instruction)
    assert autocast_dtype(amp, "cpu") is BFLOAT16
    assert autocast_dtype(amp, torch.device("cpu")) is BFLOAT16


@pytest.mark.parametrize("amp", [False, 0])
@pytest.mark.parametrize("device", ["cpu", "cuda:0", "mps"])
def test_false_is_float32_everywhere(monkeypatch, amp, device):
    cpu(monkeypatch, "avx512_bf16")
    assert autocast_dtype(amp, device) is None


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_a_device_without_stays_in_float32_and_says_so_if_it_was_asked_for(monkeypatch, device):
    cpu(monkeypatch, "avx2", "avx512_f")
    assert autocast_dtype("auto", device) is None
    with pytest.warns(UserWarning, match=f"amp: expected .* bfloat16, found a {device} without; going on in float32"):
        assert autocast_dtype(True, device) is None


def test_a_pytorch_that_cannot_tell_stays_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert autocast_dtype("auto", "cpu") is None


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), torch.float16), ((8, 0), BFLOAT16), ((9, 0), BFLOAT16)])
def test_a_gpu_is_asked_itself(monkeypatch, capability, expected):
    other = (7, 0) if capability[0] >= 8 else (9, 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability if device == "cuda:1" else other)
    assert autocast_dtype("auto", "cuda:1") is expected
    assert autocast_dtype(True, "cuda:1") is expected


@pytest.mark.parametrize("amp", ["yes", "bfloat16", "", None, 2])
def test_another_word_is_refused(amp):
    with pytest.raises(ValueError, match=f"amp: expected auto, true or false, got {amp!r}"):
        autocast_dtype(amp, "cpu")


class Pair(NamedTuple):
    sides: tuple[Tensor, ...]
    label: Tensor


class Recorder(nn.Module):
    """A convolution; notes the type of what it gives, and packs it."""

    def __init__(self, pack=lambda y: y):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.pack, self.seen = nn.Conv2d(1, 2, 3, padding=1), pack, []

    def forward(self, x, scale=1.0):
        y = self.conv(x) * scale
        self.seen.append((x.dtype, y.dtype))
        return self.pack(y)


def image(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "pack",
    [
        lambda y: y,
        lambda y: [y, y + 1],
        lambda y: (y, y + 1),
        lambda y: {"a": y, "b": [y]},
        lambda y: Pair((y, y + 1), y.argmax(1)),
        lambda y: (y, None, "word"),
    ],
)
def test_the_network_computes_in_it_and_gives_float32_in_the_form_that_it_has(pack):
    network, x = Recorder(pack), image(2, 1, 8, 8)
    found = AutocastInferer(SimpleInferer(), BFLOAT16)(x, network)
    assert network.seen == [(torch.float32, BFLOAT16)]
    with torch.autocast("cpu", BFLOAT16):
        expected = network(x)
    assert type(found) is type(expected)
    for one, other in zip(tensors(found), tensors(expected), strict=True):
        assert torch.equal(one, other)
        assert one.dtype is (torch.float32 if other.dtype is BFLOAT16 else other.dtype)


def tensors(output):
    """All that there are in it, in order."""
    if isinstance(output, Tensor):
        return [output]
    values = list(output.values()) if isinstance(output, dict) else output if isinstance(output, (list, tuple)) else []
    return [tensor for value in values for tensor in tensors(value)]


def test_arguments_of_the_network_are_passed_on():
    network, x = Recorder(), image(2, 1, 8, 8)
    inferer = AutocastInferer(SimpleInferer(), BFLOAT16)
    assert torch.equal(inferer(x, network, scale=2.0), 2 * inferer(x, network))
    assert torch.equal(inferer(x, network, 2.0), 2 * inferer(x, network))


def test_without_a_type_everything_is_as_it_was():
    network, x = Recorder(), image(2, 1, 8, 8)
    assert torch.equal(AutocastInferer(SimpleInferer(), None)(x, network), network(x))
    assert network.seen[0] == (torch.float32, torch.float32)


@pytest.mark.parametrize(
    ("inferer", "shape"),
    [
        (SlidingWindowInferer((8, 8), overlap=0.5, mode="gaussian"), (1, 1, 20, 20)),
        (SliceInferer(roi_size=(8, 8), spatial_dim=2, overlap=0.5, mode="gaussian"), (1, 1, 20, 20, 2)),
    ],
)
def test_patches_are_blended_in_float32(inferer, shape):
    network, x = Recorder(), image(*shape)
    with torch.no_grad():
        found, expected = AutocastInferer(inferer, BFLOAT16)(x, network), inferer(x, network)
    assert network.seen[0][1] is BFLOAT16
    assert found.dtype is torch.float32
    assert not torch.equal(found, found.bfloat16().float()), "means of several patches are no numbers of bfloat16"
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)


def test_the_evaluator_keeps_every_branch_in_float32():
    torch.manual_seed(0)
    network, volume = (
        DualBranchUNet(2, 1, 3, (4, 8)),
        {"image": image(1, 1, 16, 16, 3), "label": image(1, 1, 16, 16, 3)},
    )
    slices = SliceInferer(roi_size=(16, 16), spatial_dim=2)

    def evaluate(inferer):
        evaluator = DistillationEvaluator(
            device=torch.device("cpu"), val_data_loader=[volume], network=network, inferer=inferer, decollate=False
        )
        evaluator.run()
        return evaluator.state.output

    mixed, full = evaluate(AutocastInferer(slices, BFLOAT16)), evaluate(slices)
    for key in ("teacher", "student", "pred"):
        assert mixed[key].dtype is torch.float32
        assert not torch.equal(mixed[key], full[key])
        torch.testing.assert_close(mixed[key], full[key], atol=0.05, rtol=0.05)


def test_losses_see_float32_and_gradients_reach_float32_weights():
    torch.manual_seed(0)
    network, teacher, seen = SideOutputVGG(), SideOutputVGG(), []
    before = [parameter.detach().clone() for parameter in network.parameters()]

    def loss(output, batch, guide):
        seen.append((*output.sides, output.fused, *guide.sides, guide.fused))
        assert not torch.is_autocast_enabled("cpu")
        return {"loss": (output.fused - guide.fused).square().mean()}

    DistillationTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=[{"image": image(2, 3, 16, 16), "label": torch.zeros(2, 1)}],
        network=network,
        teacher=teacher,
        loss_function=loss,
        optimizer=torch.optim.SGD(network.parameters(), 1.0),
        inferer=AutocastInferer(SimpleInferer(), BFLOAT16),
    ).run()
    assert {value.dtype for value in seen[0]} == {torch.float32}
    assert {parameter.grad.dtype for parameter in network.parameters()} == {torch.float32}
    moved = [not torch.equal(*pair) for pair in zip(network.parameters(), before, strict=True)]
    assert sum(moved) > 0.9 * len(moved)


def test_sure_pixels_stay_apart_from_certainty():
    """bfloat16 has no number between .996 and 1: there 1 − p is 0, and a cross-entropy has no gradient."""
    torch.manual_seed(0)
    network = SideOutputVGG().eval()
    for head in network.heads:
        nn.init.constant_(head.bias, 9.0)
    with torch.no_grad():
        fused = AutocastInferer(SimpleInferer(), BFLOAT16)(image(1, 3, 16, 16), network)
    assert float(fused.min()) > 0.998
    assert float(fused.max()) < 1
