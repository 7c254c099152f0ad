"""Polyp-PVT against recorded outputs of the official code, through its official checkpoints."""

import numpy as np
import pytest
import torch

from medkd.networks import PolypPVT, load_pvt_v2

from .conftest import REFERENCE, official

PARAMETERS = {"b0": 3_650_740, "b2": 25_107_604}


@pytest.mark.parametrize("backbone", PARAMETERS)
def test_outputs_agree_with_the_official_code(backbone, saved):
    network = PolypPVT.from_official(saved(official(f"polyp_pvt_{backbone}"))).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[backbone]
    with np.load(REFERENCE / "polyp_pvt.npz") as recorded, torch.no_grad():
        x, *maps = (torch.as_tensor(recorded[f"polyp_pvt_{backbone}/{name}"]) for name in ("x", "p1", "p2"))
        found = network.outputs(x)
        torch.testing.assert_close(network(x), found.fusion + found.similarity)
    for logits, expected in zip(found, maps, strict=True):
        assert (logits - expected).abs().max() / expected.abs().max() < 1e-4


def test_training_mode_gives_both_maps():
    output = PolypPVT("b0").train()(torch.randn(2, 3, 64, 32))
    assert [tuple(logits.shape) for logits in output] == [(2, 1, 64, 32)] * 2
    torch.testing.assert_close(output.prediction, output.fusion + output.similarity)


def test_sides_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"multiples of 32, got \(64, 50\); pad or resize"):
        PolypPVT("b0")(torch.zeros(1, 3, 64, 50))


def test_an_unknown_backbone_is_refused():
    with pytest.raises(ValueError, match=r"backbone must be one of \['b0', .*'resnet34'\], got 'b9'"):
        PolypPVT("b9")


def test_a_backbone_alone_is_loaded_without_its_classifier(saved):
    weights = {
        key.removeprefix("backbone."): v for key, v in official("polyp_pvt_b0").items() if key.startswith("backbone.")
    }
    network = PolypPVT(
        "b0", pretrained=str(saved(weights | {"head.weight": torch.zeros(9, 256), "head.bias": torch.zeros(9)}))
    )
    torch.testing.assert_close(
        network.backbone.encoder.layers[1].blocks[0].attention.value.bias, weights["block2.0.attn.kv.bias"][64:]
    )


def test_the_checkpoint_of_another_backbone_is_refused(saved):
    path = saved(official("polyp_pvt_b2"))
    with pytest.raises(
        ValueError,
        match=r"official\.pth: expected the weights of PolypPVT, found others: .*not expected.*of another shape",
    ):
        PolypPVT.from_official(path, "b0")


def test_long_lists_of_keys_end_after_ten(saved):
    weights = {f"module.{key}": value for key, value in official("polyp_pvt_b0").items()}
    with pytest.raises(
        ValueError, match=r"\d+ missing \(([\w.]+, ){9}[\w.]+ and \d+ more\); \d+ not expected"
    ) as refused:
        PolypPVT.from_official(saved(weights), "b0")
    assert len(str(refused.value)) < 2000


def test_weights_of_another_network_have_no_known_backbone(saved):
    with pytest.raises(ValueError, match=r"official\.pth: expected the weights of a PVTv2 b0 to b5, found widths \[\]"):
        PolypPVT.from_official(saved(official("vgg_mil")))


def test_missing_and_extra_keys_are_named_together(saved):
    weights = official("polyp_pvt_b0")
    weights["other"] = weights.pop("out_SAM.bias")
    with pytest.raises(ValueError, match=r"1 missing \(similarity_head\.bias\); 1 not expected \(other\)"):
        PolypPVT.from_official(saved(weights), "b0")


@pytest.mark.parametrize("content", [{"model": {}}, [1]])
def test_another_kind_of_file_is_refused(saved, content):
    with pytest.raises(ValueError, match=r"official\.pth: expected a state dict of tensors, found"):
        PolypPVT.from_official(saved(content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth: expected a trained model"):
        load_pvt_v2(tmp_path / "none.pth", PolypPVT("b0").backbone)


def test_the_hub_without_a_network_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(OSError, match=r"pvt_v2_b0\.pth"):
        PolypPVT("b0", pretrained="hub")


def test_tracing_gives_what_the_network_gives():
    network, x = PolypPVT("b0").eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        traced = torch.jit.trace(network, x)
        torch.testing.assert_close(traced(x), network(x))


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_the_head_stands_on_convolutions_too(name):
    network = PolypPVT(name).eval()
    with torch.no_grad():
        fusion, similarity = network.outputs(torch.randn(2, 3, 64, 96))
    assert fusion.shape == similarity.shape == (2, 1, 64, 96)


def test_a_file_is_no_source_of_weights_for_a_resnet(tmp_path):
    with pytest.raises(ValueError, match=r"expected null or hub as pretrained weights of resnet18, got 'weights\.pth'"):
        PolypPVT("resnet18", pretrained="weights.pth")


def test_a_backbone_is_made_from_its_file_alone(saved):
    weights = {
        key.removeprefix("backbone."): v for key, v in official("polyp_pvt_b0").items() if key.startswith("backbone.")
    }
    found, expected = load_pvt_v2(saved(weights)), PolypPVT("b0").backbone
    load_pvt_v2(saved(weights), expected)
    assert all(torch.equal(value, expected.state_dict()[key]) for key, value in found.state_dict().items())


def test_weights_of_no_known_backbone_are_refused(saved):
    weights = {
        key.removeprefix("backbone."): v for key, v in official("polyp_pvt_b0").items() if "block3.1." not in key
    }
    with pytest.raises(ValueError, match=r"expected the weights of a PVTv2 b0 to b5, found .* depths \[2, 2, 1, 2\]"):
        load_pvt_v2(saved(weights))
