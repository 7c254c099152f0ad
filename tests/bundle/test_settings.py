"""The settings of a student: kept with its weights, taken on by what applies it, contradicted by nobody."""

import logging
import sys

import pytest
import torch
from monai.bundle import ConfigParser

import medkd
from medkd.bundle.settings import adopt
from medkd.networks.checkpoints import load_model, read_settings

WEIGHTS = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
TRAINED = {"pixdim": [2, 2, -1], "class_names": ["b", "a"], "threshold": 0.3}
INFERENCE = {
    "class_names": ["a", "b"],
    "pixdim": [-1, -1, -1],
    "threshold": 0.5,
    "num_classes": "$len(@class_names) + 1",
}


@pytest.fixture
def student(tmp_path):
    """Writes a student's file with some settings."""

    def save(settings=TRAINED):
        torch.save(
            {"model": WEIGHTS, **({"settings": settings} if settings is not None else {})}, tmp_path / "model.pt"
        )
        return tmp_path / "model.pt"

    return save


def running(**keys) -> ConfigParser:
    return ConfigParser({"imports": ["$import medkd", "$import torch"], **keys})


def test_settings_are_resolved_and_plain():
    parser = running(
        sides="$[2 * 16, 32]",
        classes=3,
        network_def={
            "_target_": "torch.nn.Conv2d",
            "in_channels": 1,
            "out_channels": "@classes",
            "kernel_size": "@sides",
        },
        kept="$medkd.bundle.student_settings('sides', 'network_def')",
    )
    network = {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 3, "kernel_size": [32, 32]}
    assert parser.get_parsed_content("kept") == {"sides": [32, 32], "network_def": network}
    assert isinstance(parser.get_parsed_content("network_def"), torch.nn.Conv2d)  # it still is what it was


def test_weights_to_start_from_are_not_kept():
    """Nobody has the path on another machine, and the student's own weights take their place."""
    network = {
        "_target_": "UNet",
        "pretrained": "/data/pvt_v2_b0.pth",
        "branch": {"_target_": "UNet", "pretrained": True},
    }
    parser = running(network_def=network, kept="$medkd.bundle.student_settings('network_def')")
    kept = parser.get_parsed_content("kept")["network_def"]
    assert (kept["pretrained"], kept["branch"]["pretrained"]) == (None, False)


def test_what_is_no_plain_data_is_left_out_with_a_warning(caplog):
    parser = running(network_def={"_target_": "monai.networks.nets.UNet", "act": "$torch.nn.ReLU"}, a=1)
    parser["kept"] = "$medkd.bundle.student_settings('a', 'network_def')"
    assert parser.get_parsed_content("kept") == {"a": 1}
    assert "network_def is not kept with the weights" in caplog.text


def test_a_configuration_takes_on_what_it_has_keys_for(student):
    parser = ConfigParser(INFERENCE)
    adopt(parser, student({**TRAINED, "image_size": [3, 3], "class_names": ["b", "a", "c"]}))
    assert parser.get_parsed_content("num_classes") == 4
    assert (parser["pixdim"], parser["threshold"], "image_size" in parser) == ([2, 2, -1], 0.3, False)


def test_what_is_asked_for_must_be_what_was_trained(student):
    parser = ConfigParser({**INFERENCE, "pixdim": [1, 1, -1], "class_names": ["a", "b"]})
    message = (
        r"--pixdim: expected \[2, 2, -1\], with which \S+model.pt was trained, found \[1, 1, -1\]; "
        r"--class_names: expected \['b', 'a'\], with which \S+ was trained, found \['a', 'b'\]"
    )
    with pytest.raises(ValueError, match=message):
        adopt(parser, student(), given=["pixdim", "class_names"])
    assert parser["pixdim"] == [1, 1, -1]
    adopt(ConfigParser({**INFERENCE, "pixdim": [2, 2, -1]}), student(), given=["pixdim"])


def test_a_part_of_a_network_is_compared_by_itself(student):
    network = {"_target_": "monai.networks.nets.UNet", "channels": [4, 8], "strides": [2]}
    own = {"_target_": "medkd.networks.DualBranchUNet", "channels": [4, 8]}
    adopt(ConfigParser({"network_def": own}), student({"network_def": network}), given=["network_def#channels"])
    own["channels"] = [8, 8]
    with pytest.raises(ValueError, match=r"--network_def#channels: expected \[4, 8\]"):
        adopt(ConfigParser({"network_def": own}), student({"network_def": network}), given=["network_def#channels"])


def test_the_operating_point_may_be_chosen_anew(student):
    parser = ConfigParser({**INFERENCE, "threshold": 0.7})
    adopt(parser, student(), given=["threshold"])
    assert (parser["threshold"], parser["pixdim"]) == (0.7, [2, 2, -1])


def test_the_window_may_be_chosen_anew_and_is_else_that_of_training(student):
    settings, own = (
        {"patch_size": [192, 192], "window_size": [-1, -1]},
        {"patch_size": [64, 64], "window_size": "@patch_size"},
    )
    parser = ConfigParser(dict(own))
    adopt(parser, student(settings))
    assert parser.get_parsed_content("window_size") == [-1, -1]
    parser = ConfigParser({**own, "window_size": [256, 256]})
    adopt(parser, student(settings), given=["window_size"])
    assert (parser["window_size"], parser["patch_size"]) == ([256, 256], [192, 192])
    parser = ConfigParser({**own, "window_size": [256, 256]})
    adopt(parser, student(settings))  # written in inference.yaml, which export and deploy read too
    assert parser["window_size"] == [256, 256]
    parser = ConfigParser(dict(own))
    adopt(parser, student({"patch_size": [192, 192]}))  # of a student that knew no windows
    assert parser.get_parsed_content("window_size") == [192, 192]


def test_a_file_without_settings_changes_nothing_and_says_so(student, caplog):
    parser = ConfigParser(INFERENCE)
    adopt(parser, student(None), given=["pixdim"])
    assert parser.config == ConfigParser(INFERENCE).config
    assert "model.pt does not say what it was trained with" in caplog.text


@pytest.mark.parametrize("text", ["$__import__('os').system('touch /tmp/x')", "@device", "%other.yaml::key"])
def test_expressions_in_a_file_of_weights_are_refused(student, text):
    for settings in ({"pixdim": text}, {"network_def": {"channels": [text]}}, {"network_def": {text: 1}}):
        with pytest.raises(ValueError, match=r'model\.pt: expected plain data under "settings", found'):
            read_settings(student(settings))


def test_a_file_of_weights_names_networks_alone(student):
    parser = ConfigParser({"network_def": {"_target_": "medkd.networks.PolypPVT"}})
    for target in (
        "os.system",
        "subprocess.run",
        "monai.bundle.run",
        "monai.networks.nets.hovernet.os.system",  # what a module of networks has imported
        "medkd.networks.checkpoints.torch.hub.load_state_dict_from_url",
        "medkd.networks.load_model",
        "monai.networks.nets.hovernet.warnings",
        "run",
    ):
        with pytest.raises(ValueError, match=f"model.pt: expected a network of medkd.networks.* or .*, found {target}"):
            adopt(parser, student({"network_def": {"_target_": target, "command": "x"}}))
    for target in ("monai.networks.nets.UNet", "UNet", "medkd.networks.SideOutputVGG", "torch.nn.Conv2d"):
        adopt(parser, student({"network_def": {"_target_": target}}))
        assert parser["network_def"] == {"_target_": target}


def test_a_network_of_one_s_own_is_taken_where_the_configuration_names_it(student):
    parser = ConfigParser({"network_def": {"_target_": "mine.Network", "width": 1}})
    adopt(parser, student({"network_def": {"_target_": "mine.Network", "width": 2}}))
    assert parser["network_def"]["width"] == 2


def test_weights_with_settings_load_as_before(student):
    network = torch.nn.Linear(3, 2)
    assert torch.equal(load_model(student(), network).weight, WEIGHTS["weight"])


def test_the_command_line_is_seen_in_a_program_of_monai_alone(student, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    keys = {"model_path": str(student()), "pixdim": [1, 1, 1], "start": "$medkd.bundle.adopt_student()"}
    monkeypatch.setattr(sys, "argv", ["/x/monai/bundle/__main__.py", "run", "--pixdim=[1,1,1]"])
    with pytest.raises(RuntimeError) as refused:
        running(**keys).get_parsed_content("start")
    assert "--pixdim: expected [2, 2, -1]" in str(refused.value.__cause__)
    monkeypatch.setattr(sys, "argv", ["/x/pytest", "run", "--pixdim=[1,1,1]"])
    parser = running(**keys)
    parser.get_parsed_content("start")
    assert parser.get_parsed_content("pixdim") == [2, 2, -1]
    assert "pixdim: [2, 2, -1], with which" in caplog.text
    assert "bundle" in medkd.__all__


def test_a_file_of_weights_does_not_say_where_files_lie(student):
    parser = ConfigParser({"output_dir": "here", "dataset_dir": "there", "pixdim": [1, 1, 1]})
    adopt(parser, student({**TRAINED, "output_dir": "/etc", "dataset_dir": "/etc"}))
    assert (parser["output_dir"], parser["dataset_dir"], parser["pixdim"]) == ("here", "there", [2, 2, -1])


def test_other_kinds_of_data_are_refused(student):
    with pytest.raises(ValueError, match=r"expected plain data under .settings., found \('\$x',\)"):
        read_settings(student({"class_names": ("$x",)}))


def test_weights_to_start_from_and_places_that_are_not_there(student):
    network = {"_target_": "UNet", "pretrained": None, "channels": [4]}
    own = {"network_def": {**network, "pretrained": "vgg.pth", "channels": [4, 8]}}
    adopt(ConfigParser(dict(own)), student({"network_def": network}), given=["network_def#pretrained"])
    with pytest.raises(ValueError, match=r"--network_def#channels#1: expected None, .* found 8"):
        adopt(ConfigParser(own), student({"network_def": network}), given=["network_def#channels#1"])


@pytest.mark.parametrize("settings", [None, {"mpp": 1.0, "downsample": None}, {"mpp": None, "downsample": 2.0}])
@pytest.mark.parametrize(("given", "other"), [("mpp", "downsample"), ("downsample", "mpp")])
def test_of_two_ways_to_say_a_scale_the_given_one_counts(student, settings, given, other):
    parser = ConfigParser({"downsample": 1, "mpp": 7, given: 0.5})
    adopt(parser, student(settings), given=[given])
    assert (parser[given], parser[other]) == (0.5, None)


def test_a_student_that_has_to_be_there_is_named(tmp_path):
    with pytest.raises(RuntimeError) as refused:
        running(
            model_path=str(tmp_path / "none.pt"), start="$medkd.bundle.adopt_student(required=True)"
        ).get_parsed_content("start")
    assert "none.pt: expected a trained model, found nothing there" in str(refused.value.__cause__)


def test_a_threshold_that_no_probability_reaches_is_refused(student):
    parser = running(model_path=str(student({})), threshold=1.5, start="$medkd.bundle.adopt_student()")
    with pytest.raises(RuntimeError) as refused:
        parser.get_parsed_content("start")
    assert str(refused.value.__cause__) == "threshold: expected a number between 0 and 1, found 1.5"


def test_another_smoothing_than_the_threshold_was_set_with_is_told(student, caplog):
    kept = student({"threshold": 0.3, "smoothing": 3.0})
    adopt(ConfigParser({"threshold": 0.5, "smoothing": 3.0}), kept, given=["smoothing"])
    adopt(ConfigParser({"threshold": 0.4, "smoothing": 1.0}), kept, given=["smoothing", "threshold"])
    assert "belongs to" not in caplog.text
    adopt(ConfigParser({"threshold": 0.5, "smoothing": 1.0}), kept, given=["smoothing"])
    assert "threshold: 0.3 belongs to maps of a smoothing of 3.0, these are of 1.0" in caplog.text
