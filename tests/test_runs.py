"""What runs begin with: values of the command line, what an earlier training left, names."""

import signal
import sys
from contextlib import nullcontext

import pytest
import torch
from filelock import FileLock
from mlflow import MlflowClient
from monai.bundle import ConfigWorkflow

from medkd.folder_lock import unlock
from medkd.runs import begin, names_before, run_name, sqlite_uri, start_training

PROGRAM = "/x/monai/bundle/__main__.py"


def test_run_names_are_unique_and_start_with_the_prefix(tmp_path):
    names = {run_name(str(tmp_path / "state"), prefix="confkd") for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("confkd-") for name in names)


def test_a_resumed_run_keeps_its_name(tmp_path):
    first = run_name(str(tmp_path), prefix="a")
    assert run_name(str(tmp_path), prefix="b", resume=True) == first


def test_a_new_run_takes_the_place_of_those_before(tmp_path):
    first = run_name(str(tmp_path), prefix="a")
    second = run_name(str(tmp_path), prefix="a")
    assert second != first
    assert run_name(str(tmp_path), prefix="a", resume=True) == second
    assert (names_before(first), names_before(second)) == ([], [first])


def test_resuming_where_nothing_is_kept_makes_a_name_and_keeps_it(tmp_path):
    first = run_name(str(tmp_path), prefix="a", resume=True)
    assert first.startswith("a-")
    assert run_name(str(tmp_path), prefix="a", resume=True) == first


@pytest.mark.parametrize(("rank", "written"), [("0", True), ("1", False)])
def test_only_the_first_process_keeps_the_name(tmp_path, monkeypatch, rank, written):
    monkeypatch.setenv("RANK", rank)
    run_name(str(tmp_path / "state"), prefix="x")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == (["run_name.txt"] if written else [])


@pytest.fixture
def program(monkeypatch):
    """This process as the program ``python -m monai.bundle run``, with these arguments."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def become(*arguments):
        monkeypatch.setattr(sys, "argv", [PROGRAM, "run", *map(str, arguments)])

    yield become
    for number, handler in handlers.items():
        signal.signal(number, handler)


CONFIG = """
imports:
- $import medkd
state: DIR
resume: false
amp: $1 > 2
classes: [a, b]
run_name: "$medkd.runs.run_name(@state, prefix='n', resume=@resume)"
initialize:
- $medkd.runs.begin()
- $setattr(medkd, 'seen', (@resume, @amp, @classes, @run_name))
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "train.yaml").write_text(CONFIG.replace("DIR", str(tmp_path)))
    return tmp_path / "train.yaml"


def initialized(config, **overrides):
    import medkd

    ConfigWorkflow(config_file=str(config), logging_file=False, workflow_type=None, **overrides).initialize()
    return vars(medkd).pop("seen")


def test_what_is_evaluated_after_the_beginning_sees_values(config, program):
    program("--config_file", config, "--resume", "false", "--amp=true", "--classes", "[left one, b]")
    given = {"resume": "false", "amp": "true", "classes": "[left one, b]"}
    first = initialized(config, **given)
    assert first[:3] == (False, True, ["left one", "b"])
    second = initialized(config, **given)
    assert second[3] != first[3], "the string 'false' was taken for true"
    program("--config_file", config, "--resume", "true")
    assert initialized(config, resume="true")[3] == second[3]


def test_a_wrong_command_line_is_refused(config, program):
    program("--config_file", config, "--resume", "maybe")
    with pytest.raises(RuntimeError) as caught:
        initialized(config, resume="maybe")
    assert str(caught.value.__cause__) == f"{config}: --resume: expected true or false, found 'maybe'"


def test_another_program_gives_values_itself(config, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pytest", "run", "--config_file", str(config), "--oops", "3"])
    hook, handler = sys.excepthook, signal.getsignal(signal.SIGTERM)
    assert initialized(config, resume=True)[0] is True
    begin()  # not even within a configuration
    assert (sys.excepthook, signal.getsignal(signal.SIGTERM)) == (hook, handler)


@pytest.fixture
def before(tmp_path):
    """What an earlier training left."""
    (tmp_path / "epoch=0007.pt").touch()
    (tmp_path / "model.pt").touch()
    return tmp_path


def start(folder, *, resume=False, fresh=False):
    start_training([str(folder), str(folder / "teacher")], str(folder / "model.pt"), resume=resume, fresh=fresh)


def test_a_training_is_not_started_beside_another_and_nobody_hears_of_it(before, program):
    program()
    found = pytest.raises(RuntimeError, match=f"{before}: expected no other training there, found one that runs")
    with FileLock(before / ".lock"), found:  # as another process holds it
        start(before, fresh=True)
    assert not (before / "run_name.txt").exists()
    start(before, fresh=True)
    unlock(before)
    unlock(before / "teacher")


@pytest.mark.parametrize(
    ("kept", "what", "advice"),
    [("epoch=0007.pt", "saves", "--resume true goes on with it, "), ("model.pt", "student", "")],
)
def test_a_training_is_not_started_over_another(before, program, kept, what, advice):
    program()
    (before / ({"epoch=0007.pt", "model.pt"} - {kept}).pop()).unlink()
    with pytest.raises(ValueError, match=rf"{kept}: .* found its {what}; {advice}--fresh true del"):
        start(before)


def test_saves_of_an_earlier_stage_count(tmp_path, program):
    program()
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "epoch=0001.pt").touch()
    with pytest.raises(ValueError, match=r"epoch=0001\.pt: expected no earlier training"):
        start(tmp_path)
    start(tmp_path, resume=True)


@pytest.mark.parametrize("asked", ["resume", "fresh"])
def test_what_is_asked_for_is_done(before, program, asked):
    program()
    start(before, **{asked: True})
    start(before.parent)  # nothing is there


def test_a_student_without_saves_is_not_resumed(before, program):
    program()
    (before / "epoch=0007.pt").unlink()
    with pytest.raises(ValueError, match=r"model\.pt: .* found its student"):
        start(before, resume=True)


@pytest.mark.parametrize(
    ("name", "epoch"),
    [("confkd-2", 1), ("confkd-1", 1), ("confkd-2", 7)],
    ids=["its own", "of another training", "whose saves somebody deleted"],
)
def test_a_training_that_was_killed_before_its_first_save_begins_again(before, program, name, epoch):
    program()
    (before / "epoch=0007.pt").unlink()
    (before / "run_name.txt").write_text("confkd-1\nconfkd-2\n")
    torch.save({"model": {}, "run": name, "epoch": epoch}, before / "model.pt")
    own = (name, epoch) == ("confkd-2", 1)
    with nullcontext() if own else pytest.raises(ValueError, match="found its student"):
        start(before, resume=True)


def test_both_at_once_are_refused(before, program):
    program()
    with pytest.raises(ValueError, match="expected --resume true or --fresh true, found both"):
        start(before, resume=True, fresh=True)


def test_a_server_may_train_again_and_again(before, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["monailabel", "start_server"])
    start(before)


def test_the_address_of_a_store_is_that_of_its_file(tmp_path):
    place = tmp_path / "mit raum? 100 %20 #1"
    place.mkdir()
    MlflowClient(sqlite_uri(place / "runs.db")).search_experiments()
    assert (place / "runs.db").stat().st_size > 0
