"""Overrides of the command line: keys that there are, values of the types that the files have."""

import pytest

from medkd.bundle.command_line import given_keys, is_bundle_run, overrides, typed, unknown_keys

CONFIG = {
    "max_epochs": 3,
    "train": {"trainer": {"_target_": "Trainer", "amp": True}, "handlers": [{"_target_": "A"}, {"plain": 1}]},
}


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


@pytest.mark.parametrize(
    ("value", "default", "found"),
    [
        ("false", True, False),
        ("False", False, False),
        ("no", True, False),
        ("on", False, True),
        (0, True, False),
        ("1", False, True),
        (True, False, True),
        ("1e-3", 0.1, 0.001),
        (1e2, 3, 100),
        (0.5, 1, 0.5),
        ("[left ventricle, rest]", ["a"], ["left ventricle", "rest"]),
        ((1.5, 1.5, -1), [-1, -1, -1], [1.5, 1.5, -1]),
        ("{a: 1}", {"b": 2}, {"a": 1}),
        (2024, ".", "2024"),
        (["image"], "image", ["image"]),
        ("false", "$torch.cuda.is_available()", False),
        ("off", "@switch", False),
        ("false", "auto", False),  # amp
        ("true", "auto", True),
        ("auto", "auto", "auto"),
        (0.5, "auto", 0.5),
        ("null", "$existing()", None),
        ("no", None, False),
        ("weights.pt", None, "weights.pt"),
        (7, None, 7),
        ("$None", 1, "$None"),
        ("@teacher_def", {"_target_": "A"}, "@teacher_def"),
        ("%other.yaml#n", [1], "%other.yaml#n"),
    ],
)
def test_a_value_is_of_the_type_that_the_file_has(value, default, found):
    assert typed(value, default) == found
    assert type(typed(value, default)) is type(found)


@pytest.mark.parametrize(
    ("value", "default", "problem"),
    [
        ("maybe", True, "expected true or false, found 'maybe'"),
        (2, False, "expected true or false, found 2"),
        (None, False, "expected true or false, found None"),
        ("many", 3, "expected a number such as 3, found 'many'"),
        ("nan", 0.5, "expected a number such as 0.5, found 'nan'"),
        ("1e999", 3, "expected a number such as 3, found '1e999'"),
        (True, 0.5, "expected a number such as 0.5, found True"),
        ([1], 3, r"expected a number such as 3, found \[1\]"),
        (3, [1, 2], r"expected a list such as \[1, 2\], found 3"),
        ("a: [", [1, 2], r"expected a list such as \[1, 2\], found 'a: \['"),
        (3, {"a": 1}, "expected a mapping, found 3"),
    ],
)
def test_a_value_of_another_type_is_refused(value, default, problem):
    with pytest.raises(ValueError, match=f"^{problem}$"):
        typed(value, default)


PROGRAM = "/x/monai/bundle/__main__.py"


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ([PROGRAM, "run"], True),
        ([PROGRAM, "verify_metadata"], False),
        (["/usr/bin/pytest", "run"], False),
        (["-c"], False),
        ([], False),
    ],
)
def test_which_program_it_is(line, is_one):
    assert is_bundle_run(line) is is_one


@pytest.fixture
def configs(tmp_path):
    (tmp_path / "train.yaml").write_text(
        "max_epochs: 3\nresume: false\nclasses: [a, b]\ntrain: {trainer: {_target_: Trainer}}\n"
    )
    (tmp_path / "evaluate.yaml").write_text("split: test\ntrain#trainer#amp: true\n")
    return tmp_path


def read(*arguments, **given):
    return overrides([PROGRAM, "run", *map(str, arguments)], given)


@pytest.mark.parametrize("form", ["--config_file {}", "--config_file={}", "--config_file ['{}']", "-config-file {}"])
def test_a_misspelt_override_is_refused_with_the_nearest_key(configs, form):
    arguments = form.format(configs / "train.yaml").split(" ")
    with pytest.raises(ValueError, match=r"train\.yaml: unknown key 'max_epoch', did you mean 'max_epochs'\?"):
        read(*arguments, "--max_epoch", "3")


def test_all_problems_of_a_command_line_come_at_once(configs):
    files = ["--config_file", configs / "train.yaml"]
    with pytest.raises(ValueError, match=r"'max_epoch'.*; unknown key 'splt'"):
        read(*files, "--max_epoch=3", "--splt", "x")
    with pytest.raises(
        ValueError, match=r"train\.yaml: --max_epochs: expected a number .*; --resume: expected true or"
    ):
        read(*files, "--max_epochs=few", "--resume", "maybe", max_epochs="few", resume="maybe")


def test_a_key_of_any_of_several_files_is_known(configs):
    files = f"['{configs / 'train.yaml'}', '{configs / 'evaluate.yaml'}']"
    given = {"split": "validation", "train#trainer#amp": "false"}
    found = read("--config_file", files, "--split", "validation", "--train#trainer#amp", "false", **given)
    assert found == {"split": "validation", "train#trainer#amp": False}
    with pytest.raises(ValueError, match=r"train\.yaml, .*evaluate\.yaml: unknown key 'splitt', did you mean 'split'"):
        read("--config_file", files, "--splitt", "validation")


def test_arguments_of_monai_itself_are_no_overrides(configs):
    line = ["initialise", "--config_file", configs / "train.yaml", "--max-epochs", "3", "--meta_file", "m.json"]
    assert read(*line, "--tracking=mlflow", max_epochs=3) == {"max_epochs": 3}


@pytest.mark.parametrize(("tracking", "key"), [("mlflow", "experiment_name"), ("file", "picture_size")])
def test_the_keys_of_the_tracking_settings_are_known(configs, tracking, key):
    (configs / "tracking.yaml").write_text("configs: {picture_size: 3}")
    line = ["--config_file", configs / "train.yaml", f"--{key}", "4"]
    assert read(*line, "--tracking", configs / "tracking.yaml" if tracking == "file" else tracking, **{key: 4})
    with pytest.raises(ValueError, match=f"unknown key '{key}'"):
        read(*line)


def test_without_a_configuration_there_is_nothing_to_check():
    assert read("--max_epoch", "3") == {}


def test_overrides_in_a_file_are_overrides(configs):
    """MONAI's ``--args_file``; the command line has precedence."""
    (configs / "args.json").write_text('{"max_epochs": 5, "resume": "false", "classes": ["b"]}')
    line = ["--config_file", configs / "train.yaml", "--args_file", configs / "args.json", "--max_epochs", "4"]
    given = {"max_epochs": 4, "resume": "false", "classes": ["b"]}
    assert read(*line, **given) == {"max_epochs": 4, "resume": False, "classes": ["b"]}
    assert set(given_keys([PROGRAM, "run", *map(str, line)])) == {"max_epochs", "resume", "classes"}
    (configs / "args.json").write_text('{"max_epoch": 5}')
    with pytest.raises(ValueError, match=r"unknown key 'max_epoch', did you mean 'max_epochs'"):
        read(*line, **given)
