"""A real MLflow server that is not there, or dies in the middle of a training."""

import logging
import socket

import pytest
from ignite.engine import Engine, Events
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from medkd.handlers.tracking import TrackingHandler
from medkd.handlers.tracking_client import experiment_id, fallback_client
from medkd.runs import sqlite_uri

from ..helpers import TrackingServer, free_port


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def server(tmp_path_factory, tools):
    """A server's address, and how to kill it."""
    started = TrackingServer(tmp_path_factory.mktemp("server"), tools)
    started.start()
    yield started.address, started.kill
    started.kill()


@pytest.mark.parametrize("name", ["mit raum", "tümor"])
def test_what_a_run_leaves_lies_beside_the_store_alone(tmp_path, name):
    folder, kept = tmp_path / name, tmp_path / "kept.txt"
    folder.mkdir()
    kept.write_text("kept")
    client = MlflowClient(sqlite_uri(folder / "mlruns.db"))
    run = client.create_run(experiment_id(client, "hearts"))
    client.log_artifact(run.info.run_id, str(kept))
    assert [path.read_text() for path in folder.glob("mlruns/*/artifacts/kept.txt")] == ["kept"]
    assert {path.name for path in tmp_path.iterdir()} == {name, "kept.txt"}


def train(address, offline, *, kill=lambda: None, moment=None, epochs=4):
    """A trainer and its validator, as a bundle's tracking file attaches them; ``kill`` in the second epoch."""
    options = {"experiment_name": "hearts", "run_name": "run", "iteration_log": False, "offline_dir": str(offline)}

    def step(moment_of_it):
        def one(*_):
            if trainer.state.epoch == 2 and moment == moment_of_it:
                kill()

        return one

    trainer, validator = Engine(step("training")), Engine(step("validation"))

    @trainer.on(Events.EPOCH_COMPLETED)
    def _loss(engine):
        engine.state.metrics["loss"] = 1.0 / engine.state.epoch
        validator.state.epoch = trainer.state.epoch - 1
        validator.run([0], max_epochs=trainer.state.epoch)  # as MONAI's evaluators
        if engine.state.epoch == 2 and moment == "after":
            kill()

    @validator.on(Events.EPOCH_COMPLETED)
    def _dice(engine):
        engine.state.metrics["dice"] = 0.1 * trainer.state.epoch

    place = {"global_epoch_transform": lambda _: trainer.state.epoch}
    TrackingHandler(tracking_uri=address, close_on_complete=True, **options).attach(trainer)
    TrackingHandler(tracking_uri=address, **place, **options).attach(validator)
    trainer.run([0], max_epochs=epochs)
    return trainer


def offline_run(folder):
    client = MlflowClient(f"sqlite:///{folder / 'mlruns-offline.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("hearts").experiment_id])
    return {name: [m.value for m in client.get_metric_history(run.info.run_id, name)] for name in ("loss", "dice")}, run


def test_a_server_that_is_not_there_stops_no_training(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        trainer = train(f"http://127.0.0.1:{free_port()}", tmp_path)
    assert trainer.state.epoch == 4
    assert f"the run goes on in sqlite:///{tmp_path}/mlruns-offline.db" in caplog.text
    metrics, run = offline_run(tmp_path)
    assert metrics["loss"] == [1.0, 1 / 2, 1 / 3, 1 / 4]
    assert metrics["dice"] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert run.info.status == "FINISHED"


def test_a_server_that_is_there_gets_the_run(server, tmp_path):
    address, _ = server
    train(address, tmp_path / "offline")
    client = MlflowClient(address)
    (run,) = client.search_runs([client.get_experiment_by_name("hearts").experiment_id])
    assert [m.value for m in client.get_metric_history(run.info.run_id, "loss")] == [1.0, 1 / 2, 1 / 3, 1 / 4]
    assert not (tmp_path / "offline").exists()


def test_what_the_server_refuses_is_an_error(server, tmp_path):
    address, _ = server
    handler = TrackingHandler(tracking_uri=address, experiment_name="hearts", offline_dir=str(tmp_path / "offline"))
    with pytest.raises(MlflowException, match="No Experiment with id"):
        handler.client.create_run("4711")
    assert not (tmp_path / "offline").exists()


@pytest.mark.parametrize("moment", ["training", "validation", "after"])
def test_a_server_that_dies_leaves_a_whole_run_on_this_side(server, tmp_path, moment):
    address, kill = server
    train(address, tmp_path / "offline", kill=kill, moment=moment)
    metrics, run = offline_run(tmp_path / "offline")
    assert metrics["loss"] == [1.0, 1 / 2, 1 / 3, 1 / 4]
    assert metrics["dice"] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert run.info.status == "FINISHED"
    assert run.data.params["max_epochs"] == "4"


def test_a_server_that_does_not_answer_counts_as_lost(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        train(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path, epochs=1)
    metrics, _ = offline_run(tmp_path)
    assert metrics["loss"] == [1.0]


def test_a_server_lost_between_experiment_and_run(server, tmp_path):
    address, kill = server
    client = fallback_client(MlflowClient(address), tmp_path, run="run")
    assert client.get_experiment_by_name("hearts") is None
    experiment = client.create_experiment("hearts")
    kill()
    run = client.create_run(experiment, run_name="run")
    client.set_terminated(run.info.run_id, "FINISHED")
    _, found = offline_run(tmp_path)
    assert found.info.run_id == run.info.run_id


def test_what_is_written_later_has_the_time_and_the_values_that_it_had(server, tmp_path):
    """A parameter's value that is the experiment's number, a point's time, and no word about another run."""
    address, kill = server
    client = fallback_client(MlflowClient(address), tmp_path, run="run")
    experiment = experiment_id(client, "hearts")
    other = MlflowClient(address).create_run(experiment, run_name="other")
    run = client.create_run(experiment, run_name="run", tags={"kind": "small"}).info.run_id
    client.log_param(run, "folds", experiment)
    client.log_metric(run, "dice", 0.5)
    client.set_terminated(other.info.run_id, "KILLED")
    (point,) = MlflowClient(address).get_metric_history(run, "dice")
    kill()
    MlflowClient(f"sqlite:///{tmp_path / 'mlruns-offline.db'}").create_experiment("cats")  # which takes the number
    client.log_metric(run, "dice", 0.6)
    _, found = offline_run(tmp_path)
    assert found.info.run_id == client.get_run(run).info.run_id != run
    assert (found.data.params, found.data.tags["kind"]) == ({"folds": experiment}, "small")
    assert found.info.experiment_id != experiment
    first, second = client.get_metric_history(run, "dice")
    assert (first.value, first.timestamp, second.value) == (0.5, point.timestamp, 0.6)
