"""What a server would stumble over, or silently get wrong, is found before it is served."""

import json
import re
import shutil

import pytest
import torch
from monai.bundle import ConfigParser

from medkd.bundle import read_bundle
from medkd.serving import deployment_problems

from .conftest import METHODS, edit, small_copy


@pytest.mark.parametrize("name", METHODS)
def test_our_bundles_can_be_served(name, tmp_path):
    assert deployment_problems(small_copy(name, tmp_path)) == []


def _no_weights(bundle):
    (bundle / "models" / "model.pt").unlink()


def _second_weights(bundle):
    shutil.copy(bundle / "models" / "model.pt", bundle / "models" / "m.pt")


def _other_network(bundle):
    torch.save({"model": torch.nn.Linear(2, 2).state_dict()}, bundle / "models" / "model.pt")


def _other_key(bundle):
    content = torch.load(bundle / "models" / "model.pt", weights_only=True)
    torch.save({"student": content["model"]}, bundle / "models" / "model.pt")


def _yml(bundle):
    (bundle / "configs" / "inference.yaml").rename(bundle / "configs" / "inference.yml")


def _two_configs(bundle):
    (bundle / "configs" / "inference.json").write_text("{}")


def _no_yaml(bundle):
    (bundle / "configs" / "inference.yaml").write_text("a: [")


def _handlers_expression(bundle):
    edit(bundle / "configs" / "train.yaml", **{"train#handlers": "$list()"})


def _no_inferer(bundle):
    edit(bundle / "configs" / "inference.yaml", inferer=None)


def _no_labels(bundle):
    path = bundle / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["network_data_format"]["outputs"]["pred"]["channel_def"] = {"0": "background"}
    path.write_text(json.dumps(metadata))


def _no_metadata(bundle):
    (bundle / "configs" / "metadata.json").unlink()


def _probabilities(bundle):
    edit(
        bundle / "configs" / "inference.yaml",
        **{"postprocessing#transforms#1": {"_target_": "Activationsd", "keys": "pred", "softmax": True}},
    )


def _fails_on_image_path(bundle):
    spacing = {"_target_": "Spacingd", "keys": "image", "pixdim": [-1, -1, -1]}
    edit(bundle / "configs" / "inference.yaml", **{"preprocessing#transforms#1": spacing})


BROKEN = {
    _no_weights: r"model\.pt: expected the trained student, found none; train first",
    _second_weights: r"models: expected model\.pt alone, found m\.pt too; move them to checkpoints/",
    _other_network: r"model\.pt: .*expected the weights of DualBranchUNet.*; train again",
    _other_key: r"model\.pt: .*expected \{\"model\": state_dict\}, found the keys \['student'\]",
    _yml: r"configs: expected inference\.yaml or inference\.json, found neither",
    _two_configs: r"inference\.yaml: expected one of it and inference\.json, found both",
    _no_yaml: r"inference\.yaml: expected a configuration, found none that can be read",
    _handlers_expression: r"expected train#handlers as a list of mappings .*, found \$list\(\); the server edits that list",
    _no_inferer: r"inference\.\*: expected the key inferer, found none",
    _no_labels: r"metadata\.json: network_data_format: expected a label beside the background",
    _no_metadata: r"metadata\.json: expected the bundle's metadata, found none",
    _probabilities: r"postprocessing: expected a mask in the image's shape \(40, 36, 5\), found \(4, 40, 36, 5\)",
    _fails_on_image_path: r"inference: expected a mask of a synthetic volume, found .*'str' object has no attribute 'update'",
}


@pytest.mark.parametrize("break_it", BROKEN, ids=lambda f: f.__name__)
def test_a_broken_bundle_is_refused_with_its_reason(break_it, volume_bundle):
    break_it(volume_bundle)
    found = deployment_problems(volume_bundle)
    assert any(re.search(BROKEN[break_it], problem) for problem in found), found


def test_a_picture_needs_what_png_can_hold(picture_bundle):
    config = picture_bundle / "configs" / "inference.yaml"
    edit(config, displayable_configs={}, **{"postprocessing#transforms#5": None})
    found = "\n".join(deployment_problems(picture_bundle))
    assert "displayable_configs#result_extension: expected .png, found None" in found
    assert "displayable_configs#result_dtype: expected uint8, found None" in found
    assert "postprocessing: expected a mask in the image's shape (90, 70), found (1, 90, 70)" in found


def test_all_problems_are_told_at_once(volume_bundle):
    _second_weights(volume_bundle)
    _no_inferer(volume_bundle)
    _no_labels(volume_bundle)
    assert len(deployment_problems(volume_bundle)) == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [("liver detection", "letters, digits"), ("polyp_detection", "'detection'"), ("../x", "letters")],
)
def test_names_that_the_server_misreads(volume_bundle, name, expected):
    found = deployment_problems(volume_bundle, name)
    assert any(expected in problem for problem in found)


def test_a_compact_student_of_pictures_is_served_as_one(tmp_path):
    bundle = small_copy("compact_segmentation", tmp_path)
    network = {"_target_": "monai.networks.nets.BasicUNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 2}
    settings = {
        "kind": "frame",
        "class_names": ["polyp"],
        "image_size": [64, 96],
        "patch_size": [64, 96],
        "spatial_dims": 2,
    }
    settings |= {"intensity_range": [0, 255], "network_def": network}
    weights = ConfigParser({"network": network}).get_parsed_content("network").state_dict()
    torch.save({"model": weights, "settings": settings}, bundle / "models" / "model.pt")
    found = read_bundle(bundle)
    assert (found.pictures, found.labels) == (True, {"polyp": 1})
    assert deployment_problems(bundle) == []


def test_settings_that_the_server_cannot_write_into_are_found(tmp_path):
    bundle = small_copy("kdas_polyp_segmentation", tmp_path)
    edit(
        bundle / "configs" / "inference.yaml",
        displayable_configs="$dict(result_extension='.png', result_dtype='uint8')",
    )
    assert any("displayable_configs: expected a mapping" in problem for problem in deployment_problems(bundle))
