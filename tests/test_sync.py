"""Runs that went on without their MLflow server come to it later: a real server, killed and started again."""

import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

from medkd.cli import main
from medkd.datasets import write_datalist
from medkd.handlers.offline_store import experiment_of, open_store
from medkd.ladder import load_ladder, run_ladder, where_to_look
from medkd.sync import sync

from .docs.pages import blocks
from .helpers import TrackingServer, free_port
from .ladder.conftest import fake_bundle  # noqa: F401 - a fixture

EPOCHS = 4
LOSSES = [(epoch, 1 / epoch) for epoch in range(1, EPOCHS + 1)]


@pytest.fixture(scope="module")
def server(tmp_path_factory, tools):
    started = TrackingServer(tmp_path_factory.mktemp("server"), tools)
    yield started
    started.kill()


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """A machine that other tests keep busy is no server that is away."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")


@pytest.fixture
def running(server):
    if server.process is None:
        server.start()
    return server


@pytest.fixture
def ladder(fake_bundle, server, tmp_path, monkeypatch):  # noqa: F811
    """Call a ladder of two rungs, and again; its folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    write_datalist(tmp_path / "datalist.json", {})

    def call(**options):
        overrides = {"max_epochs": EPOCHS}
        rungs = load_ladder(fake_bundle, ["pair"])
        run_ladder(
            rungs, tmp_path / "out", dataset_dir=tmp_path, seeds=[0], overrides=overrides, progress=False, **options
        )
        return tmp_path / "out"

    return call


def runs(client, experiment="fake", *, root=None):
    """Of a ladder: the parent, and the children by their rungs."""
    key = (root / "run_name.txt").read_text().strip()[-6:]
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    found = {run.info.run_name: run for run in found if run.info.run_name.endswith(key)}
    (parent,) = [name for name in found if name.startswith("ladder-")]
    return found.pop(parent), {name.partition("-")[0]: run for name, run in found.items()}


def points(client, run, key="loss"):
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, key)]


def everything(client, run):
    """All that a run has, as text: what is to stay the same, and to be there once."""
    run = client.get_run(run.info.run_id)
    history = [client.get_metric_history(run.info.run_id, key) for key in sorted(run.data.metrics)]
    files = [(item.path, item.file_size) for item in client.list_artifacts(run.info.run_id)]
    return repr((run.info.status, run.info.end_time, run.data.params, run.data.tags, history, files))


def local(root):
    return MlflowClient(f"sqlite:///{root / 'mlruns-offline.db'}")


def kill_in_the_second_epoch(server, root, rung):
    (root / rung / "seed0").mkdir(parents=True)
    (root / rung / "seed0" / "kill").write_text(str(server.process.pid))


def test_a_ladder_whose_server_is_lost_in_the_middle(running, ladder, tmp_path, capsys):
    """Of two processes at once, so that what they share is shared; in one process less can go wrong."""
    kill_in_the_second_epoch(running, tmp_path / "out", "low")
    root = ladder(jobs=2)
    running.process.wait()
    offline, children = runs(local(root), root=root)
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {offline.info.run_id}
    assert {run.info.status for run in (offline, *children.values())} == {"FINISHED"}
    assert all(points(local(root), run) == LOSSES for run in children.values())
    assert (root / "parent_run.txt").read_text() == offline.info.run_id
    assert f"sqlite:///{root}/mlruns-offline.db" in where_to_look(root)[0]
    assert not {"MEDKD_PARENT_RUN", "MEDKD_SERVER_AWAY"} & os.environ.keys()

    running.start()
    there = MlflowClient(running.address)
    half, cut = runs(there, root=root)
    assert half.info.status == "RUNNING"
    assert len(points(there, cut["low"])) < EPOCHS
    assert main(["tracking", "sync", str(root)]) == 0
    printed = capsys.readouterr().out.splitlines()
    # Beside the lost one, "high" may have ended before: the server has all of it.
    assert len(printed) == 1 + len(children)
    (low,) = [line for line in printed if line.startswith("low")]
    assert re.fullmatch(r"low-seed0-[0-9a-f]{6}: found; added \d+ metric points(, .+)?; FINISHED", low)
    parent, complete = runs(there, root=root)
    assert parent.info.run_id == half.info.run_id
    assert sorted(complete) == ["high", "low"]
    for run in complete.values():
        assert points(there, run) == LOSSES
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.params["max_epochs"] == str(EPOCHS)
        assert (run.info.status, run.info.end_time > run.info.start_time) == ("FINISHED", True)
        assert any(item.path.endswith(".json") for item in there.list_artifacts(run.info.run_id))
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["dice_high"] == pytest.approx(0.75)  # of two patients, .8 and .7
    assert "high" in parent.data.tags["mlflow.note.content"]
    assert {item.path for item in there.list_artifacts(parent.info.run_id)} >= {"ladder.md", "ladder.png"}

    before = [everything(there, run) for run in (parent, *complete.values())]
    assert [line.split("; ", 1)[1] for line in sync(root, running.address)] == ["nothing to add; FINISHED"] * len(
        printed
    )
    assert [everything(there, run) for run in (parent, *complete.values())] == before


def test_a_ladder_that_begins_without_its_server_goes_on_with_it(server, ladder, tmp_path):
    server.kill()
    begun = time.monotonic()
    root = ladder()
    without = time.monotonic() - begun
    first, _ = runs(local(root), root=root)
    (root / "low" / "seed0" / "eval" / "cases.csv").unlink()
    begun = time.monotonic()
    server.start()
    began = time.monotonic() - begun
    ladder()
    there = MlflowClient(server.address)
    parent, redone = runs(there, root=root)
    assert (sorted(redone), parent.info.status) == (["low"], "FINISHED")
    assert parent.info.run_name == first.info.run_name
    assert (root / "parent_run.txt").read_text() == parent.info.run_id
    ended = parent.info.end_time
    list(sync(root, server.address))
    parent, both = runs(there, root=root)
    assert sorted(both) == ["high", "low"]
    assert {run.data.tags["mlflow.parentRunId"] for run in both.values()} == {parent.info.run_id}
    assert points(there, both["high"]) == LOSSES
    assert sorted(points(there, both["low"])) == sorted(2 * LOSSES)  # it was trained twice, at two times
    assert (parent.info.status, parent.info.end_time) == ("FINISHED", ended)
    assert {line.split("; ", 1)[1] for line in sync(root, server.address)} == {"nothing to add; FINISHED"}
    assert without < 60 + 3 * began, "it waited for the server again and again"


_TRAINING = """
import os, signal, sys
from ignite.engine import Engine
from medkd.handlers.tracking import TrackingHandler
address, folder, first, killed = *sys.argv[1:3], *map(int, sys.argv[3:])
def step(engine, batch):
    if engine.state.epoch == killed:
        os.kill(os.getpid(), signal.SIGKILL)
    engine.state.metrics["loss"] = 1 / engine.state.epoch
trainer = Engine(step)
options = {"experiment_name": "hearts", "run_name": "run", "offline_dir": folder, "close_on_complete": True}
TrackingHandler(tracking_uri=address, **options).attach(trainer)
trainer.state.epoch, trainer.state.max_epochs, trainer.state.epoch_length = first, 4, 1
trainer.run([0], max_epochs=4)
"""


def train(address, folder, *, first=0, killed=0):
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-c", _TRAINING, address, str(folder), str(first), str(killed)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_a_training_that_vanished_without_its_server(server, tmp_path, capsys):
    server.kill()
    assert train(server.address, tmp_path, killed=3).returncode == -9
    server.start()
    there = MlflowClient(server.address)
    page = "docs/how-to/train.md"
    (words,) = [c for block in blocks(page) for c in block.commands if c.startswith("medkd tracking sync ")]
    _, *typed = words.replace("http://SERVER:5000", server.address).replace(" eval ", f" {tmp_path} ").split()
    assert main(typed) == 0
    assert re.fullmatch(r"run: made; added 2 metric points, .*; KILLED\n", capsys.readouterr().out)
    (run,) = there.search_runs([there.get_experiment_by_name("hearts").experiment_id])
    assert (run.info.status, points(there, run)) == ("KILLED", LOSSES[:2])
    last = max(point.timestamp for point in there.get_metric_history(run.info.run_id, "loss"))
    assert last <= run.info.end_time < last + 60_000
    done = train(server.address, tmp_path, first=2)
    assert done.returncode == 0, done.stderr
    for _ in range(2):
        assert list(sync(tmp_path, server.address)) == ["run: found; nothing to add; FINISHED"]
    (run,) = there.search_runs([there.get_experiment_by_name("hearts").experiment_id])
    assert (run.info.status, points(there, run)) == ("FINISHED", LOSSES)


@pytest.fixture
def written(tmp_path):
    """A local store with everything that a run can have, and its run."""
    client = open_store(tmp_path / "eval")
    experiment = experiment_of(client, tmp_path / "eval", "everything")
    run = client.create_run(experiment, start_time=1000, tags={"mlflow.user": "ada"}, run_name="it's all").info.run_id
    client.log_batch(run, metrics=[Metric("loss", step / 7, 2000 + step, step) for step in range(999)])
    client.log_batch(run, metrics=[Metric("loss", 0.5, 5000, 7), Metric("odd", math.nan, 4000, 0)])
    for number in range(120):
        client.log_param(run, f"key{number}", number)
    data = Dataset("hearts", "12ab", "local", "{}", None, None)
    client.log_inputs(run, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
    for name, text in (("a.txt", "new"), ("test/b.csv", "1,2")):
        client.log_text(run, text, name)
    tags = {"sha256": "77", "mlflow.modelVersions": '[{"name": "hearts", "version": "1"}]'}
    model = client.create_logged_model(experiment, name="student", source_run_id=run, tags=tags)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}")
    client.log_model_artifacts(model.model_id, str(tmp_path / "model"))
    client.finalize_logged_model(model.model_id, "READY")
    client.set_tag(run, "medkd.model_id", model.model_id)
    client.set_terminated(run, "FAILED", 6000)
    return tmp_path / "eval", run


def the_run(there):
    (run,) = there.search_runs([there.get_experiment_by_name("everything").experiment_id])
    return run


def content(there, path):
    return Path(there.download_artifacts(the_run(there).info.run_id, path)).read_text()


def test_all_that_a_run_has_comes_once_and_what_is_newer_stays(running, written, tmp_path):
    folder, run = written
    there = MlflowClient(running.address)
    moved = folder.rename(tmp_path / "moved")  # as a disk from a machine without a network
    line = "made; added 1001 metric points, 120 parameters, 1 dataset, 1 model, 2 artefacts, 1 tag; FAILED"
    assert list(sync(moved, running.address)) == [f"it's all: {line}"]
    found = the_run(there)
    history = there.get_metric_history(found.info.run_id, "loss")
    assert sorted((p.step, p.value) for p in history) == sorted([*((s, s / 7) for s in range(999)), (7, 0.5)])
    assert math.isnan(found.data.metrics["odd"])
    assert (found.info.start_time, found.info.end_time, found.info.status) == (1000, 6000, "FAILED")
    assert found.data.params["key119"] == "119"
    assert found.data.tags["mlflow.user"] == "ada"
    (dataset,) = found.inputs.dataset_inputs
    assert (dataset.dataset.digest, dataset.tags[0].value) == ("12ab", "training")
    (model,) = there.search_logged_models([found.info.experiment_id])
    assert found.data.tags["medkd.model_id"] == model.model_id
    assert model.source_run_id == found.info.run_id
    assert (model.status, model.tags) == ("READY", {"sha256": "77"})  # its version is one of the local registry
    assert "MLmodel" in {item.path for item in there.list_logged_model_artifacts(model.model_id)}

    there.log_text(found.info.run_id, "bad", "a.txt")  # of the same length, and older than the local run's end
    there.set_tag(found.info.run_id, "mlflow.note.content", "mine")
    assert list(sync(moved, running.address)) == ["it's all: found; added 1 artefact; FAILED"]
    assert content(there, "a.txt") == "new"
    there.log_text(found.info.run_id, "yet newer", "a.txt")
    there.set_terminated(found.info.run_id, "FINISHED", 7000)  # it went on there
    assert list(sync(moved, running.address)) == ["it's all: found; nothing to add; FINISHED"]
    assert content(there, "a.txt") == "yet newer"
    assert the_run(there).data.tags["mlflow.note.content"] == "mine"
    assert local_is_as_before(moved, run)


def local_is_as_before(folder, run):
    found = MlflowClient(f"sqlite:///{folder / 'mlruns-offline.db'}").get_run(run)
    return (found.info.status, found.info.end_time, len(found.data.params)) == ("FAILED", 6000, 120)


def test_what_cannot_be_done_is_said_in_one_line(written, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    folder, _ = written
    away = f"http://127.0.0.1:{free_port()}"
    for arguments, said in (
        ([str(folder), "--tracking_uri", away], f"{away}: expected an MLflow server that answers, found none; sync again later"),
        ([str(folder)], "expected the server's address in --tracking_uri or MLFLOW_TRACKING_URI, found neither"),
        ([str(tmp_path)], f"{tmp_path}/mlruns-offline.db: expected runs that went on without their server, found no such file"),
    ):  # fmt: skip
        assert main(["tracking", "sync", *arguments]) == 1
        details, line = capsys.readouterr().err.strip().splitlines()
        assert line == f"medkd: error: {said}"
        Path(details.removeprefix("Details: ")).unlink()
