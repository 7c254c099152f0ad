"""Names of runs, switches and the check of the command line."""

import sys

import pytest

from medkd.runs import check_command_line, is_true, run_name, unknown_keys

CONFIG = {
    "max_epochs": 3,
    "train": {"trainer": {"_target_": "Trainer", "amp": True}, "handlers": [{"_target_": "A"}, {"plain": 1}]},
}


def test_run_names_are_unique_and_start_with_the_prefix(tmp_path):
    names = {run_name(str(tmp_path / "state"), prefix="confkd") for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("confkd-") for name in names)


def test_a_resumed_run_keeps_its_name(tmp_path):
    first = run_name(str(tmp_path), prefix="a")
    assert run_name(str(tmp_path), prefix="b", resume=True) == first


def test_a_new_run_replaces_the_kept_name(tmp_path):
    first = run_name(str(tmp_path), prefix="a")
    second = run_name(str(tmp_path), prefix="a")
    assert second != first
    assert run_name(str(tmp_path), prefix="a", resume=True) == second


def test_resuming_where_nothing_is_kept_makes_a_name_and_keeps_it(tmp_path):
    first = run_name(str(tmp_path), prefix="a", resume=True)
    assert first.startswith("a-")
    assert run_name(str(tmp_path), prefix="a", resume=True) == first


@pytest.mark.parametrize("value", [True, 1, "true", "True", "1", "yes", "YES"])
def test_what_is_true(value):
    assert is_true(value) is True


@pytest.mark.parametrize("value", [False, 0, None, "false", "FALSE", "0", "no"])
def test_what_is_not_true(value):
    assert is_true(value) is False


@pytest.mark.parametrize("value", ["", "maybe", "tru"])
def test_a_string_that_is_neither_is_refused(value):
    with pytest.raises(ValueError, match=f'expected "true" or "false", got {value!r}'):
        is_true(value)


@pytest.mark.parametrize(
    "key",
    [
        "max_epochs",
        "train#trainer",
        "train#trainer#amp",
        "train::trainer::amp",
        "train#trainer#max_epochs",  # an argument of the component that the configuration leaves out
        "train#handlers#0#interval",
        "train#handlers#1#plain",
    ],
)
def test_known_places_pass(key):
    assert unknown_keys([key], CONFIG) == []


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("max_epoch", "unknown key 'max_epoch', did you mean 'max_epochs'?"),
        ("train#trainr#amp", "unknown key 'train#trainr#amp', did you mean 'trainer'?"),
        ("train::trainr::amp", "unknown key 'train::trainr::amp', did you mean 'trainer'?"),
        ("zzz", "unknown key 'zzz'"),
        ("train#extra", "unknown key 'train#extra'"),
        ("train#trainer#new#deeper", "unknown key 'train#trainer#new#deeper'"),
        ("train#handlers#2", "unknown key 'train#handlers#2'"),
        ("train#handlers#first", "unknown key 'train#handlers#first'"),
        ("train#handlers#1#other", "unknown key 'train#handlers#1#other'"),
        ("max_epochs#deeper", "unknown key 'max_epochs#deeper'"),
    ],
)
def test_unknown_places_are_named(key, problem):
    assert unknown_keys([key], CONFIG) == [problem]


def test_every_unknown_key_is_reported():
    assert len(unknown_keys(["one_", "max_epochs", "two_"], CONFIG)) == 2


@pytest.fixture
def configs(tmp_path):
    (tmp_path / "train.yaml").write_text("max_epochs: 3\ntrain: {trainer: {_target_: Trainer}}\n")
    (tmp_path / "evaluate.yaml").write_text("split: test\ntrain#trainer#amp: true\n")
    return tmp_path


PROGRAM = "/x/monai/bundle/__main__.py"


@pytest.mark.parametrize("form", ["--config_file {}", "--config_file={}", "--config_file ['{}']"])
def test_a_misspelt_override_is_refused_with_the_nearest_key(configs, form):
    line = [PROGRAM, "run", *form.format(configs / "train.yaml").split(" "), "--max_epoch", "3"]
    with pytest.raises(ValueError, match=r"train\.yaml: unknown key 'max_epoch', did you mean 'max_epochs'\?"):
        check_command_line(line)


def test_all_problems_of_a_command_line_come_at_once(configs):
    line = [PROGRAM, "run", "--config_file", str(configs / "train.yaml"), "--max_epoch=3", "--splt", "x"]
    with pytest.raises(ValueError, match=r"'max_epoch'.*; unknown key 'splt'"):
        check_command_line(line)


def test_a_key_of_any_of_several_files_is_known(configs):
    files = f"['{configs / 'train.yaml'}', '{configs / 'evaluate.yaml'}']"
    check_command_line([PROGRAM, "run", "--config_file", files, "--split", "validation", "--max_epochs", "2"])
    with pytest.raises(ValueError, match=r"train\.yaml, .*evaluate\.yaml: unknown key 'splitt', did you mean 'split'"):
        check_command_line([PROGRAM, "run", "--config_file", files, "--splitt", "validation"])


def test_right_overrides_and_arguments_of_monai_itself_pass(configs):
    line = [PROGRAM, "run", "initialise", "--config_file", str(configs / "train.yaml"), "--max_epochs", "3"]
    check_command_line([*line, "--train#trainer#amp", "false", "--meta_file", "m.json", "--tracking=mlflow"])


@pytest.mark.parametrize(("tracking", "key"), [("mlflow", "experiment_name"), ("file", "picture_size")])
def test_the_keys_of_the_tracking_settings_are_known(configs, tracking, key):
    (configs / "tracking.yaml").write_text("configs: {picture_size: 3}")
    line = [PROGRAM, "run", "--config_file", str(configs / "train.yaml"), f"--{key}", "4"]
    check_command_line([*line, "--tracking", str(configs / "tracking.yaml") if tracking == "file" else tracking])
    with pytest.raises(ValueError, match=f"unknown key '{key}'"):
        check_command_line(line)


@pytest.mark.parametrize(("rank", "written"), [("0", True), ("1", False)])
def test_only_the_first_process_keeps_the_name(tmp_path, monkeypatch, rank, written):
    monkeypatch.setenv("RANK", rank)
    run_name(str(tmp_path / "state"), prefix="x")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == (["run_name.txt"] if written else [])


@pytest.mark.parametrize(
    "program", [["/usr/bin/pytest", "run"], [PROGRAM, "verify_metadata"]], ids=["another program", "another verb"]
)
def test_other_commands_are_not_checked(configs, program):
    check_command_line([*program, "--config_file", str(configs / "train.yaml"), "--max_epoch", "3"])


def test_without_a_configuration_there_is_nothing_to_check():
    check_command_line([PROGRAM, "run", "--max_epoch", "3"])


def test_the_command_line_of_the_process_is_the_default(configs, monkeypatch):
    monkeypatch.setattr(sys, "argv", [PROGRAM, "run", "--config_file", str(configs / "train.yaml"), "--oops", "3"])
    with pytest.raises(ValueError, match="unknown key 'oops'"):
        check_command_line()
