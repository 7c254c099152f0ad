"""Tracking in a real MLflow store."""

import json
import os
import subprocess
import threading
import time
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from mlflow import MlflowClient
from monai.bundle import ConfigParser

from medkd.handlers import EpochStats
from medkd.handlers.executed_config import flatten
from medkd.handlers.tracking import TrackingHandler
from medkd.program import Stopped
from medkd.runs import run_name

# The runs here step a scheduler without training anything.
pytestmark = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlruns.db'}"


@pytest.fixture
def store(uri, request, monkeypatch):
    """One store for all tests (it is slow to make), an experiment for each."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MEDKD_PARENT_RUN", raising=False)

    class Store:
        client = MlflowClient(tracking_uri=uri)
        experiment = request.node.name

        def handler(self, **kwargs):
            defaults = {"run_name": "run", "iteration_log": False, "close_on_complete": True}
            return TrackingHandler(tracking_uri=uri, experiment_name=self.experiment, **{**defaults, **kwargs})

        def runs(self):
            return self.client.search_runs([self.client.get_experiment_by_name(self.experiment).experiment_id])

        def run(self):
            (only,) = self.runs()
            return only

    return Store()


def train(handler, *, epochs=2, step=lambda engine, item: item):
    parameter = torch.nn.Parameter(torch.zeros(()))
    engine = Engine(step)
    engine.optimizer = torch.optim.SGD([parameter], lr=0.5)
    schedule = torch.optim.lr_scheduler.ExponentialLR(engine.optimizer, 0.1)

    @engine.on(Events.EPOCH_COMPLETED)
    def _score(engine):
        engine.state.metrics["score"] = float(engine.state.epoch)

    handler.attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda _: schedule.step())
    engine.run([0, 1], max_epochs=epochs)
    return engine


def config_file(folder, **content):
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_tags_name_the_method_and_the_versions(store):
    train(store.handler(tags={"method": "confkd", "seed": 3}))
    run = store.run()
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "run"
    assert (run.data.tags["method"], run.data.tags["seed"]) == ("confkd", "3")
    assert run.data.tags["version.torch"] == torch.__version__
    assert {"version.medkd", "version.monai", "version.pytorch-ignite", "version.python"} <= run.data.tags.keys()
    assert "mlflow.parentRunId" not in run.data.tags


def test_the_commit_is_that_of_the_folder(store, tmp_path, monkeypatch):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    monkeypatch.chdir(tmp_path)
    train(store.handler(), epochs=1)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert store.run().data.tags["git_commit"] == head


def test_outside_a_repository_there_is_no_commit(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    train(store.handler(), epochs=1)
    assert "git_commit" not in store.run().data.tags
    assert "version.python" in store.run().data.tags


def test_a_parent_is_taken_from_the_environment(store, monkeypatch):
    monkeypatch.setenv("MEDKD_PARENT_RUN", "abc123")
    train(store.handler(), epochs=1)
    assert store.run().data.tags["mlflow.parentRunId"] == "abc123"


def test_outside_a_configuration_the_values_of_its_file_are_parameters(store, tmp_path):
    many = {f"key{number}": number for number in range(120)}  # more than MLflow takes at a time
    config = {"train": {"trainer": {"amp": False}, "handlers": [{"x": 1}]}, "size": [64, 64], "long": "y" * 900, **many}
    skipped = {"imports": ["$import os"], "run": ["$1"], "initialize": ["$1"], "finalize": ["$2"], "_meta_": {"v": 1}}
    train(store.handler(config_file=config_file(tmp_path, **config, **skipped)), epochs=1)
    params = store.run().data.params
    assert params["train.trainer.amp"] == "False"
    assert params["train.handlers.0.x"] == "1"
    assert params["size"] == "[64, 64]"
    assert params["long"] == "y" * 500
    assert params["key119"] == "119"
    assert not [key for key in params if key.split(".")[0] in skipped]


def test_settings_are_logged_as_the_values_that_the_run_works_with(store):
    config = {
        "imports": ["$import torch"],
        "steps": 4,
        "share": "$@steps / 8",
        "unused": "$open('/nowhere')",
        "network_def": {"_target_": "torch.nn.Linear", "in_features": "@steps", "out_features": "$@steps * 2"},
        "network": "$@network_def.eval()",
        "section": {"epochs": "@steps"},
        "run": ["$@attached(@network, @share)"],
        "attached": "$lambda *used: train_(handler_, epochs=1)",
    }
    ConfigParser(config, globals={"train_": train, "handler_": store.handler()}).get_parsed_content("run")
    params = store.run().data.params
    used = {"steps": "4", "share": "0.5", "network_def._target_": "torch.nn.Linear"}
    sizes = {"network_def.in_features": "4", "network_def.out_features": "8"}
    assert {name: value for name, value in params.items() if name not in ("max_epochs", "epoch_length")} == used | sizes


def test_metrics_and_the_learning_rate_are_logged_per_epoch(store):
    train(store.handler(), epochs=2)
    run_id = store.run().info.run_id

    def history(name):
        return [(point.step, point.value) for point in store.client.get_metric_history(run_id, name)]

    assert history("score") == [(1, 1.0), (2, 2.0)]
    assert history("learning_rate") == [(1, pytest.approx(0.5)), (2, pytest.approx(0.05))]


def test_scores_of_training_and_validation_have_their_place_and_the_kept_epoch_s_stand_by_themselves(store):
    def scored(engine, scores, best, prefix):
        handler = store.handler(prefix=prefix, close_on_complete=False)

        @engine.on(Events.EPOCH_COMPLETED)
        def _score(engine):
            engine.state.metrics.update(scores[engine.state.epoch])
            engine.state.best_metric_epoch = best[engine.state.epoch]

        handler.attach(engine)
        engine.run([0], max_epochs=3)

    losses = {epoch: {"train_loss": 1 / epoch} for epoch in (1, 2, 3)}
    scored(Engine(lambda e, i: None), losses, {1: -1, 2: -1, 3: -1}, "train")
    dice = {1: {"val_dice": 0.5}, 2: {"val_dice": 0.8, "threshold": 0.3}, 3: {"val_dice": 0.7, "threshold": 0.4}}
    scored(Engine(lambda e, i: None), dice, {1: 1, 2: 2, 3: 2}, "val")
    assert store.run().data.metrics == pytest.approx(
        {"train/loss": 1 / 3, "val/dice": 0.7, "val/threshold": 0.4}
        | {"kept/dice": 0.8, "kept/threshold": 0.3, "kept/epoch": 2}
    )


def test_what_the_machine_does_is_logged_while_the_run_lasts(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")

    def monitors():
        return [thread for thread in threading.enumerate() if thread.name == "SystemMetricsMonitor"]

    seen = []
    train(store.handler(system_metrics=True), step=lambda engine, item: (time.sleep(0.4), seen.extend(monitors())))
    assert seen
    assert "system/cpu_utilization_percentage" in store.run().data.metrics
    assert monitors() == []


def test_a_finished_run_goes_on_under_its_name(store):
    train(store.handler(), epochs=1)
    train(store.handler(run_name="another"), epochs=1)
    train(store.handler(), epochs=2)
    assert sorted((run.info.run_name, run.info.status) for run in store.runs()) == [
        ("another", "FINISHED"),
        ("run", "FINISHED"),
    ]


def test_a_run_that_begins_or_goes_on_reads_no_other(store):
    for name in ("one", "two", "two", "three"):
        handler, read = store.handler(run_name=name), []
        search = handler.client.search_runs

        def told(*args, search=search, read=read, **kwargs):
            found = search(*args, **kwargs)
            read.extend(run.info.run_name for run in found)
            return found

        handler.client.search_runs = told
        train(handler, epochs=1)
        assert set(read) <= {name}
    assert sorted(run.info.run_name for run in store.runs()) == ["one", "three", "two"]


def test_an_evaluation_s_scores_stand_beside_those_of_the_training(store, tmp_path):
    for name in ("cases", "summary"):
        (tmp_path / f"{name}.csv").write_text(f"{name}\n")
    train(store.handler(config_file=config_file(tmp_path, size=64)), epochs=2)
    both = {"config_file": config_file(tmp_path, size=32, split="test"), "table_dir": str(tmp_path)}
    train(store.handler(prefix="test", **both), epochs=1)
    run = store.run()
    assert {name: run.data.metrics[name] for name in ("score", "test/score")} == {"score": 2.0, "test/score": 1.0}
    assert (run.data.params["size"], "split" in run.data.params) == ("64", False)  # those of the student

    def tables(run, folder):
        return [artifact.path for artifact in store.client.list_artifacts(run.info.run_id, folder)]

    assert tables(run, "test") == ["test/cases.csv", "test/summary.csv"]
    train(store.handler(prefix="secret", anonymous_cases=True, **both), epochs=1)
    assert tables(run, "secret") == ["secret/summary.csv"]  # the other names cases
    train(store.handler(run_name="by itself", prefix="test", **both), epochs=1)
    (alone,) = [run for run in store.runs() if run.info.run_name == "by itself"]
    assert (alone.data.params["size"], alone.data.params["split"]) == ("32", "test")


def test_each_picture_is_logged_once(store, tmp_path):
    pictures, logged = tmp_path / "overlays", []
    pictures.mkdir()
    handler = store.handler(picture_dir=str(pictures))
    client_log = handler.client.log_artifact

    def log(run_id, path, folder):
        logged.append(path.rsplit("/", 1)[-1])
        client_log(run_id, path, folder)

    handler.client.log_artifact = log

    def step(engine, item):
        matplotlib.image.imsave(pictures / f"epoch_{engine.state.epoch}.png", np.zeros((4, 4)))

    train(handler, epochs=2, step=step)
    found = [item.path for item in store.client.list_artifacts(store.run().info.run_id, "overlays")]
    assert sorted(found) == ["overlays/epoch_1.png", "overlays/epoch_2.png"]
    assert logged == ["epoch_1.png", "epoch_2.png"]


def test_pictures_of_an_earlier_run_are_left_alone_and_a_resumed_run_logs_the_rest(store, tmp_path):
    def draw(name, age=0.0):
        matplotlib.image.imsave(tmp_path / name, np.zeros((4, 4)))
        os.utime(tmp_path / name, (time.time() - age,) * 2)

    def broken(engine, item):
        draw(f"epoch_{engine.state.epoch}.png")
        if engine.state.epoch == 2:
            raise ZeroDivisionError("broken step")

    draw("old.png", age=60)
    with pytest.raises(ZeroDivisionError):
        train(store.handler(picture_dir=str(tmp_path)), step=broken)
    logged = []
    resumed = store.handler(picture_dir=str(tmp_path))
    resumed.client.log_artifact = lambda run, path, folder: logged.append(path.rsplit("/", 1)[-1])
    train(resumed, epochs=1)
    assert logged == ["epoch_2.png"]


def test_a_run_that_breaks_is_marked_and_the_error_goes_on(store):
    def step(engine, item):
        raise ZeroDivisionError("broken step")

    with pytest.raises(ZeroDivisionError, match="broken step"):
        train(store.handler(), step=step)
    assert store.run().info.status == "FAILED"


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Stopped(15)], ids=["notebook", "program"])
def test_a_run_that_is_stopped_is_killed_and_runs_again_when_it_is_resumed(store, stop):
    def step(engine, item):
        raise stop

    with pytest.raises(type(stop)):
        train(store.handler(), step=step)
    assert store.run().info.status == "KILLED"
    seen = []
    train(store.handler(), step=lambda engine, item: seen.append(store.run().info.status))
    assert set(seen) == {"RUNNING"}
    assert store.run().info.status == "FINISHED"


def test_runs_that_could_not_say_their_end_are_killed_by_the_next_one_of_their_folder(store, tmp_path):
    def lost(name):
        train(store.handler(run_name=name, close_on_complete=False), epochs=1)  # as after SIGKILL: nobody closes it

    first, other = run_name(str(tmp_path / "here"), prefix="a"), run_name(str(tmp_path / "there"), prefix="a")
    lost(first)
    lost(other)
    second = run_name(str(tmp_path / "here"), prefix="a")
    lost(second)
    train(store.handler(run_name=run_name(str(tmp_path / "here"), prefix="a", resume=True)), epochs=1)
    statuses = {run.info.run_name: run.info.status for run in store.runs()}
    assert statuses == {first: "KILLED", other: "RUNNING", second: "FINISHED"}


def test_an_evaluation_that_breaks_is_marked_although_it_logs_its_metrics(store):
    engine = Engine(lambda engine, item: 1 / 0)
    EpochStats(name="stats").attach(engine)
    store.handler().attach(engine)
    with pytest.raises(ZeroDivisionError):
        engine.run([0])
    assert store.run().info.status == "FAILED"


def test_a_broken_run_is_gone_on_with_under_its_name_and_first_parameters(store, tmp_path):
    def step(engine, item):
        raise ZeroDivisionError("broken step")

    with pytest.raises(ZeroDivisionError):
        train(store.handler(config_file=config_file(tmp_path, a=1)), step=step)
    train(store.handler(config_file=config_file(tmp_path, a=2, b=3)))
    run = store.run()
    assert run.info.status == "FINISHED"
    assert (run.data.params["a"], run.data.params["b"]) == ("1", "3")


def test_an_evaluator_without_optimiser_or_configuration_is_tracked(store, tmp_path):
    engine = Engine(lambda engine, item: item)
    store.handler(config_file=str(tmp_path / "none.json")).attach(engine)
    engine.run([0])
    assert "learning_rate" not in store.run().data.metrics


def test_flatten_joins_keys_and_keeps_lists_of_plain_values():
    nested = {"a": {"b": [1, 2], "c": [{"d": 3}, "e"]}, "f": None, "g": [[1], [2]]}
    assert dict(flatten(nested)) == {"a.b": [1, 2], "a.c.0.d": 3, "a.c.1": "e", "f": None, "g.0": [1], "g.1": [2]}


def test_handlers_of_one_run_share_its_settings_and_the_one_that_closes_it_leaves_the_configuration(store, tmp_path):
    configuration = config_file(tmp_path, patience=2)
    shared = {"run_name": "shared", "config_file": configuration, "tags": {"seed": 3, "method": "kdas"}}
    validator = store.handler(run=shared, run_name="shared", tags={"seed": 4}, close_on_complete=False)
    train(validator, epochs=1)
    assert store.client.list_artifacts(store.run().info.run_id) == []
    train(store.handler(run=shared, run_name="shared"), epochs=1)
    run = store.run()
    assert (run.info.status, run.info.run_name, run.data.params["patience"]) == ("FINISHED", "shared", "2")
    assert (run.data.tags["seed"], run.data.tags["method"]) == ("3", "kdas")
    (artifact,) = store.client.list_artifacts(run.info.run_id)
    assert artifact.path == "run.json"


def test_the_configuration_of_a_run_that_goes_on_is_in_it_once_and_from_its_start(store, tmp_path):
    def broken(engine, item):
        assert [item.path for item in store.client.list_artifacts(store.run().info.run_id)] == ["train.json"]
        raise ZeroDivisionError("broken step")

    first, second = tmp_path / "config_1.json", tmp_path / "config_2.json"  # as MONAI calls them
    first.write_text('{"size": 64}')
    second.write_text('{"size": 64, "resume": true}')
    with pytest.raises(ZeroDivisionError):
        train(store.handler(config_file=str(first), prefix="train"), step=broken)
    train(store.handler(config_file=str(second), prefix="train"), epochs=1)
    (artefact,) = store.client.list_artifacts(store.run().info.run_id)
    logged = store.client.download_artifacts(store.run().info.run_id, artefact.path, str(tmp_path))
    assert json.loads(Path(logged).read_text()) == {"size": 64, "resume": True}


def test_only_the_first_of_several_processes_makes_a_store(tmp_path, monkeypatch):
    monkeypatch.setattr("medkd.handlers.tracking.rank", lambda: 1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlruns.db'}")
    train(TrackingHandler(experiment_name="two", run_name="run"))
    assert list(tmp_path.iterdir()) == []


def test_without_cases_a_run_says_nothing_of_where_they_lie(store, tmp_path):
    items = [{"image": f"/clinic/Doe^Jane_{n}.nii.gz", "label": f"/clinic/Doe^Jane_{n}_seg.nii.gz"} for n in range(2)]
    file = config_file(
        tmp_path, dataset_dir="/clinic/Doe^Jane", seed=3, train={"dataset": {"data": items}}, paths=["a", {"b": 1}]
    )
    train(store.handler(config_file=file, anonymous_cases=True))
    params, run = store.run().data.params, store.run().info.run_id
    assert (params["train.dataset.data.0.image"], params["train.dataset.data.1.label"]) == ("case 1", "case 2")
    assert (params["seed"], params["paths.1.b"]) == ("3", "1")
    (artefact,) = store.client.list_artifacts(run)
    logged = Path(store.client.download_artifacts(run, artefact.path, str(tmp_path))).read_text()
    assert "Doe" not in logged + str(params)
    assert json.loads(logged)["seed"] == 3
    assert "Doe" in Path(file).read_text()  # what was executed can be executed again
