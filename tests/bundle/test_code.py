"""What a configuration would run, without running it."""

from pathlib import Path

import pytest
import yaml

from medkd.bundle import bundle_names, bundle_path
from medkd.bundle.code import code_in, is_shipped
from medkd.cli import main


def test_expressions_files_imports_and_foreign_targets_are_code() -> None:
    config = {
        "imports": ["$import os"],
        "size": [1, "$2 + 2"],
        "other": "%other.json::key",
        "network": {"_target_": "os.system", "command": "true"},
        "plain": {"_target_": "UNet", "text": "a.b", "reference": "@size"},
    }
    assert dict(code_in(config)) == {
        "imports#0": "$import os",
        "size#1": "$2 + 2",
        "other": "%other.json::key",
        "network#_target_": "os.system",
    }


@pytest.mark.parametrize("target", ["torch.os.system", "monai.utils.module.import_module", "torch.hub.load", "eval"])
def test_a_path_through_a_known_package_leads_anywhere(target: str) -> None:
    assert list(code_in({"_target_": target})) == [("_target_", target)]


@pytest.mark.parametrize("target", ["run_cmd", "download_url", "ConfigWorkflow", "load", "set_determinism"])
def test_a_name_of_monai_s_that_is_no_part_of_a_network_or_its_data_is_code(target: str) -> None:
    """MONAI finds these by their names alone; run_cmd starts any program."""
    assert list(code_in({"inferer": {"_target_": target}})) == [("inferer#_target_", target)]


@pytest.mark.parametrize("target", ["UNet", "LoadImaged", "Compose", "SlidingWindowInferer", "Dataset", "DiceLoss"])
def test_the_parts_of_every_configuration_are_none(target: str) -> None:
    assert not list(code_in({"_target_": target}))


def test_what_medkd_ships_is_known_until_it_is_changed(tmp_path: Path) -> None:
    for name in bundle_names():
        file = bundle_path(name) / "configs" / "inference.yaml"
        assert is_shipped(file)
        assert list(code_in(yaml.safe_load(file.read_text())))
        (tmp_path / "inference.yaml").write_text(file.read_text() + "# changed\n")
        assert not is_shipped(tmp_path / "inference.yaml")


def test_show_lists_it_file_by_file(capsys) -> None:
    bundle = bundle_path(bundle_names()[0])
    assert main(["show", str(bundle), "--code"]) == 0
    shown = capsys.readouterr().out
    assert "train.yaml" in shown
    assert "  imports#0: $import medkd" in shown
    assert "  device: $torch.device(" in shown
    assert main(["show", str(bundle / "configs" / "inference.yaml"), "--code"]) == 0
    assert "  imports#0: $import medkd" in capsys.readouterr().out
