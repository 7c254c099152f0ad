"""A student's settings in the files of its bundle: comments stay, and MONAI's own tools agree."""

import json
import shutil

import pytest
import torch
import yaml
from monai.bundle import ConfigParser, verify_net_in_out

from medkd.bundle import bundle_names, bundle_path, freeze, read_metadata, unfrozen
from medkd.bundle.keys import settable
from medkd.bundle.metadata import with_settings
from medkd.cli import main

NAMES = ["left ventricle", "myocardium", "scar", "right ventricle"]
NETWORK = {
    "_target_": "medkd.networks.DualBranchUNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 5,
    "channels": [4, 8],
}
SETTINGS = {
    "class_names": NAMES,
    "spatial_dims": 3,
    "pixdim": [1.5, 1.5, -1],
    "patch_size": [32, 32, 8],
    "network_def": NETWORK,
}


@pytest.fixture
def bundle(tmp_path):
    shutil.copytree(bundle_path("confkd") / "configs", tmp_path / "configs")
    (tmp_path / "models").mkdir()
    torch.save({"model": {}, "settings": SETTINGS}, tmp_path / "models" / "model.pt")
    return tmp_path


def test_values_change_and_everything_else_stays(bundle):
    before = {path.name: path.read_text() for path in (bundle / "configs").rglob("*.*")}
    assert {path.name for path in freeze(bundle)} == {"train.yaml", "inference.yaml", "metadata.json"}
    after = {path.name: path.read_text() for path in (bundle / "configs").rglob("*.*")}
    comments = [line for line in before["train.yaml"].splitlines() if "  # " in line or line.startswith("#")]
    kept = [line for line in comments if line.partition("#")[2] in after["train.yaml"]]
    assert kept == comments
    for name in ("train.yaml", "inference.yaml"):
        old, new = yaml.safe_load(before[name]), yaml.safe_load(after[name])
        assert list(old) == list(new)
        changed = {key for key in old if old[key] != new[key]}
        assert changed == {"class_names", "pixdim", "patch_size", "network_def"}  # spatial_dims follow from patch_size
        parser = ConfigParser(new)
        assert [parser.get_parsed_content(key, instantiate=False) for key in ("pixdim", "patch_size", "spatial_dims")] == [
            [1.5, 1.5, -1], [32, 32, 8], 3,
        ]  # fmt: skip


def test_monai_verifies_the_network_of_a_frozen_bundle(bundle):
    freeze(bundle)
    configs = bundle / "configs"
    files = {"meta_file": str(configs / "metadata.json"), "config_file": str(configs / "inference.yaml")}
    verify_net_in_out("network_def", **files, n=1, any=32, device="cpu")
    assert (
        json.loads((configs / "metadata.json").read_text())["network_data_format"]["outputs"]["pred"]["num_channels"]
        == 5
    )


def test_a_second_time_there_is_nothing_to_do(bundle, capsys):
    assert main(["freeze", str(bundle)]) == 0
    assert capsys.readouterr().out.count("Changed: ") == 3
    assert unfrozen(bundle) == []
    assert main(["freeze", str(bundle)]) == 0
    assert "already" in capsys.readouterr().out


def test_what_is_read_behind_train_yaml_stays_as_it_is(tmp_path):
    shutil.copytree(bundle_path("kdas") / "configs", tmp_path / "configs")
    (tmp_path / "models").mkdir()
    network = {"_target_": "medkd.networks.PolypPVT", "backbone": "lite1", "pretrained": None}
    settings = {"mean": [0.5] * 3, "std": [0.25] * 3, "network_def": network}
    torch.save({"model": {}, "settings": settings}, tmp_path / "models" / "model.pt")
    assert {path.name for path in freeze(tmp_path)} == {"train.yaml", "inference.yaml"}
    assert yaml.safe_load((tmp_path / "configs" / "inference.yaml").read_text())["network_def"] == network


def test_codes_follow_the_names_they_were_written_for(bundle):
    codes = read_metadata(bundle)["label_codes"]
    assert {value: code["type"][1] for value, code in codes.items()} == {
        "1": "87878005",
        "2": "49848007",
        "4": "53085002",
    }
    plain = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert with_settings(plain, {}) == plain


def test_a_network_of_one_channel_keeps_it():
    metadata = json.loads((bundle_path("kdas") / "configs" / "metadata.json").read_text())
    output = with_settings(metadata, {"class_names": ["adenoma"]})["network_data_format"]["outputs"]["pred"]
    assert (output["num_channels"], output["channel_def"]) == (1, {"0": "background", "1": "adenoma"})


def test_a_configuration_that_is_none_leaves_all_as_they_were(bundle):
    (bundle / "configs" / "zoo.yaml").write_text("a: [1")
    before = (bundle / "configs" / "inference.yaml").read_text()
    with pytest.raises(ValueError, match=r"zoo\.yaml: expected YAML, found something else"):
        freeze(bundle)
    assert (bundle / "configs" / "inference.yaml").read_text() == before
    (bundle / "models" / "model.pt").unlink()
    with pytest.raises(FileNotFoundError, match="expected a trained model"):
        freeze(bundle)


@pytest.mark.parametrize("name", bundle_names())
def test_show_lists_every_key_with_its_comment(name, capsys):
    assert main(["show", str(bundle_path(name))]) == 0
    shown = capsys.readouterr().out
    assert "seed = 0" in shown
    assert "resume = false    # true: go on after the last complete epoch" in shown or "resume = false" in shown
    assert "model.pt    # not there: not trained yet" in shown
    train = bundle_path(name) / "configs" / "train.yaml"
    plain = {
        key
        for key, value in yaml.safe_load(train.read_text()).items()
        if isinstance(value, (int, float)) and "#" not in key
    }
    assert plain <= {key.name for key in settable(train)}


def test_show_tells_what_the_student_was_trained_with(bundle, tmp_path, capsys):
    assert main(["show", str(bundle)]) == 0
    shown = capsys.readouterr().out
    assert "model.pt    # trained with" in shown
    assert f"  class_names = {NAMES}" in shown
    assert "network_def#channels = [16, 32, 64, 128]" in shown
    assert main(["show", str(tmp_path / "nowhere")]) == 1
    assert "expected the configurations of a bundle, found none" in capsys.readouterr().err


def test_what_the_next_training_finds_out_or_starts_from_stays(tmp_path):
    """A frozen threshold would never be calibrated again."""
    shutil.copytree(bundle_path("ikdmil") / "configs", tmp_path / "configs")
    (tmp_path / "models").mkdir()
    network = {"_target_": "medkd.networks.SideOutputVGG", "pretrained": None}
    settings = {"threshold": 0.07, "image_size": [64, 64], "network_def": network}
    torch.save({"model": {}, "settings": settings}, tmp_path / "models" / "model.pt")
    train, inference = (tmp_path / "configs" / name for name in ("train.yaml", "inference.yaml"))
    train.write_text(train.read_text().replace("pretrained: null", "pretrained: vgg16_bn.pth"))
    freeze(tmp_path)
    after = yaml.safe_load(train.read_text())
    assert (after["threshold"], after["image_size"]) == ("auto", [64, 64])
    assert after["network_def"]["pretrained"] == "vgg16_bn.pth"
    assert yaml.safe_load(inference.read_text())["threshold"] == 0.07
    assert unfrozen(tmp_path) == []


def test_configurations_in_json_are_frozen_too(bundle):
    path = bundle / "configs" / "inference.yaml"
    content = yaml.safe_load(path.read_text())
    path.unlink()
    path.with_suffix(".json").write_text(json.dumps(content))
    assert path.with_suffix(".json") in freeze(bundle)
    after = json.loads(path.with_suffix(".json").read_text())
    assert (after["class_names"], after["pixdim"], list(after)) == (NAMES, [1.5, 1.5, -1], list(content))


def test_nothing_of_a_hostile_file_is_written(bundle):
    model, train = bundle / "models" / "model.pt", bundle / "configs" / "train.yaml"
    before = train.read_text()
    hostile = {"network_def": {"_target_": "os.system", "command": "x"}}
    torch.save({"model": {}, "settings": hostile}, model)
    with pytest.raises(ValueError, match=r"model\.pt: expected a network of .* found os\.system"):
        freeze(bundle)
    torch.save({"model": {}, "settings": {"output_dir": "/etc", "dataset_dir": "/etc"}}, model)
    assert freeze(bundle) == []
    assert train.read_text() == before
