"""Cells in processes of their own: their order, what happens if one fails, is stopped, or its starter vanishes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from medkd.datasets import write_datalist
from medkd.ladder import load_ladder, run_ladder
from medkd.ladder.cost import kept_minutes
from medkd.ladder.side_by_side import side_by_side

from ..helpers import heed_signals
from .test_runner import run, runs, started


@pytest.fixture(autouse=True)
def _no_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def wait_for(condition):
    deadline = time.monotonic() + 400  # two programs that import all of MONAI, on a machine that does much else
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_cell_waits_for_what_it_reads(tmp_path):
    (tmp_path / "first").write_text("x")
    copies = {name: (tmp_path / source, tmp_path / name) for name, source in (("third", "second"), ("second", "first"))}
    needs = {"third": ["second"], "second": ["not among them"]}
    assert list(side_by_side(shutil.copy, copies, needs=needs.__getitem__, jobs=2)) == ["second", "third"]
    assert (tmp_path / "third").read_text() == "x"


def test_cells_that_wait_for_each_other_are_refused(tmp_path):
    with pytest.raises(RuntimeError, match=r"each needs another: \['a', 'b'\]"):
        list(side_by_side(os.getpid, {"a": (), "b": ()}, needs={"a": "b", "b": "a"}.__getitem__, jobs=2))


def test_a_process_that_vanishes_is_told():
    with pytest.raises(RuntimeError, match=r"ended with the exit status 7"):
        list(side_by_side(os._exit, {"a": (7,)}, needs=lambda _: (), jobs=1))


def test_a_ladder_has_the_scores_and_the_runs_of_one_in_turn(fake_bundle, tmp_path):
    ladder = load_ladder(fake_bundle, ["pair"])
    scores, in_turn = (run(ladder, tmp_path / str(jobs) / "out", seeds=[0], jobs=jobs) for jobs in (2, 1))
    columns = ["rung", "seed", "patient", "dice"]
    assert scores[columns].to_dict() == in_turn[columns].to_dict()
    (parent,), children = runs(tmp_path / "2" / "out")
    assert len(children) == 2
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert {child.info.status for child in [parent, *children]} == {"FINISHED"}


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_job_at_all_is_refused(jobs, fake_bundle, tmp_path):
    with pytest.raises(ValueError, match=f"jobs: expected at least 1, got {jobs}"):
        run_ladder(load_ladder(fake_bundle), tmp_path, dataset_dir=tmp_path, jobs=jobs)


def test_one_that_fails_stops_the_others_and_names_its_log(fake_bundle, tmp_path):
    root, begun = tmp_path / "out", time.monotonic()
    (root / "wait").mkdir(parents=True)  # makes trainings sleep
    ladder = load_ladder(fake_bundle, ["low", "middle"])
    ladder = replace(ladder, rungs={**ladder.rungs, "middle": {"max_epochs": "$[][0]"}})  # fails before it would sleep
    with pytest.raises(
        RuntimeError, match=r"middle-seed0-\w+ failed: list index out of range \(its log: .*log\.txt\)$"
    ):
        run(ladder, root, seeds=[0], jobs=2)
    assert time.monotonic() - begun < 400  # "low" would sleep for twenty minutes
    assert not (root / "low" / "seed0" / "models" / "model.pt").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_it_leaves_nobody_behind_and_goes_on(number, fake_bundle, tmp_path):
    root, command = tmp_path / "out", [sys.executable, "-m", "medkd.cli", "ladder", str(fake_bundle), "--jobs", "2"]
    (root / "wait").mkdir(parents=True)
    ladder = load_ladder(fake_bundle, ["pair"])
    write_datalist(tmp_path / "datalist.json", {"patients": "hearts"})
    command += ["--rungs", "pair", "--set", "max_epochs=2", "--dataset_dir", str(tmp_path), "--output_dir", str(root)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, preexec_fn=heed_signals, start_new_session=True
    )
    wait_for(lambda: sum("version.python" in cell.data.tags for cell in started(root)) == 2)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    process.wait(200)
    wait_for(lambda: _gone(process.pid))
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        said = process.stderr.read()
        assert said.strip().splitlines()[-1] == f"medkd: stopped by {number.name}"
        assert "Traceback" not in said
    assert {cell.info.status for cell in runs(root)[1]} == {"KILLED"}
    (root / "wait").rmdir()
    run(ladder, root, seeds=[0])
    assert kept_minutes(root / "low" / "seed0") > 0
    assert {cell.info.status for part in runs(root) for cell in part} == {"FINISHED"}


def _gone(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False
