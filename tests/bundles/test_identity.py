"""A training by hand is identified and its student a model; its evaluation makes it the champion, which is deployed."""

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
import yaml

from medkd.cli import main
from medkd.datasets import load_datalist
from medkd.files import sha256
from medkd.serving import deploy

from .conftest import METHODS, Case


@dataclass
class Hand:
    """A training by hand, as it was when it had ended, and its evaluation twice, as when a command is repeated."""

    root: Path
    run: mlflow.entities.Run
    aliases: dict[str, int]


@pytest.fixture(scope="module")
def hand(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Hand:
    root = tmp_path_factory.mktemp("hand")
    case.train(root, tracking="configs/tracking.yaml", max_epochs=1)
    client, run, name = _store(root)
    found = Hand(root, run, _aliases(client, name))
    for _ in range(2):
        case.train(root, "evaluate.yaml", tracking="configs/tracking.yaml")
    return found


def _aliases(client: mlflow.MlflowClient, name: str) -> dict[str, int]:
    return {alias: int(version) for alias, version in client.get_registered_model(name).aliases.items()}


def _store(root: Path) -> tuple[mlflow.MlflowClient, mlflow.entities.Run, str]:
    """Of the one run its store, itself, and the experiment's name."""
    client = mlflow.MlflowClient(f"sqlite:///{root / 'eval' / 'mlruns.db'}")
    experiment = next(e for e in client.search_experiments() if e.name != "Default")
    (run,) = client.search_runs(experiment.experiment_id)
    return client, run, experiment.name


def test_a_training_is_identified(case: Case, hand: Hand) -> None:
    run, root = hand.run, hand.root
    tags, datalist = run.data.tags, load_datalist(case.data)
    counts = {}
    for one in run.inputs.dataset_inputs:
        (context,) = [tag.value for tag in one.tags if tag.key == "mlflow.data.context"]
        counts[context] = json.loads(one.dataset.profile)["images"]
        assert one.dataset.digest == tags[f"medkd.digest.{context}"]
    assert counts == {section: len(datalist[section]) for section in ("training", "validation")}
    assert tags["medkd.sha256.student"] == sha256(root / "models" / "model.pt")
    config = min((root / "eval").glob("config_*.json"))  # of the training, the first
    assert tags["medkd.sha256.config"] == sha256(config)
    assert tags["medkd.patient_overlap"] == "0" or tags["medkd.patient_overlap"].startswith("unknown")
    assert {"mlflow.user", "mlflow.source.name", "medkd.hardware.cpu", "medkd.hardware.gpu"} <= tags.keys()
    read = json.loads(config.read_text())
    teacher = Path(str(read.get("teacher_path")))  # of ConfKD there is none beside the student
    assert tags.get("medkd.sha256.teacher") == (sha256(teacher) if teacher.is_file() else None)


def test_its_student_is_a_candidate_and_no_champion_yet(hand: Hand) -> None:
    client, _, name = _store(hand.root)
    run = hand.run
    assert hand.aliases == {"candidate": 1}
    assert run.data.tags["medkd.model_version"] == f"{name}/1"
    version = client.get_model_version_by_alias(name, "candidate")
    assert (version.run_id, version.tags["sha256"]) == (run.info.run_id, run.data.tags["medkd.sha256.student"])
    (output,) = run.outputs.model_outputs
    assert output.model_id == run.data.tags["medkd.model_id"]


def test_its_evaluation_makes_it_the_champion(case: Case, hand: Hand) -> None:
    client, run, name = _store(hand.root)
    tags = run.data.tags
    assert tags["medkd.sha256.test_student"] == tags["medkd.sha256.student"]
    contexts = sorted(tag.value for one in run.inputs.dataset_inputs for tag in one.tags)
    assert contexts == ["test", "training", "validation"]
    champion = client.get_model_version_by_alias(name, "champion")
    assert (str(champion.version), champion.run_id) == ("1", run.info.run_id)
    settings = yaml.safe_load((case.bundle / "configs" / "tracking.yaml").read_text())["configs"]
    promoted_by = settings["tracked_training"]["identity"]["promoted_by"]
    score = champion.tags[f"test/{promoted_by}/{tags['medkd.digest.test']}"]
    assert float(score) == run.data.metrics[f"test/{promoted_by}"]
    assert tags["medkd.champion"].startswith("yes: it is the champion")  # the second time


def test_the_champion_is_deployed_as_its_folder_would_be(
    case: Case, hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, name = _store(hand.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{hand.root / 'eval' / 'mlruns.db'}")
    assert main(["deploy", f"models:/{name}@champion", str(tmp_path / "app")]) == 0
    bundle = shutil.copytree(
        case.bundle, tmp_path / "bundle", ignore=shutil.ignore_patterns("eval", "models", "checkpoints")
    )
    shutil.copytree(hand.root / "models", bundle / "models")
    expected = deploy(bundle, tmp_path / "other", name=name).path
    for part in ("models/model.pt", *(f"configs/{path.name}" for path in (expected / "configs").glob("*.*"))):
        assert (tmp_path / "app" / "model" / name / part).read_bytes() == (expected / part).read_bytes(), part


@pytest.mark.parametrize("case", [next(iter(METHODS))], indirect=True)
def test_a_second_training_is_told_apart_and_does_not_take_the_champion_s_place(
    case: Case, hand: Hand, tmp_path: Path
) -> None:
    """On data of which one byte is another, in a folder of another name; and not registered, if that is asked for."""
    root, (before, first, name) = hand.root, _store(hand.root)
    data = shutil.copytree(case.data, tmp_path / "moved")
    changed = Path(load_datalist(data)["training"][0]["image"])
    assert data in changed.parents
    time.sleep(0.02)
    with changed.open("ab") as file:
        file.write(b"0")
    case.train(root, tracking="configs/tracking.yaml", dataset_dir=data, fresh="true", max_epochs=1)
    client = mlflow.MlflowClient(before.tracking_uri)
    runs = client.search_runs([first.info.experiment_id], order_by=["attributes.start_time"])
    digests = [{key: run.data.tags[f"medkd.digest.{key}"] for key in ("training", "validation")} for run in runs]
    assert digests[0]["training"] != digests[1]["training"]
    assert digests[0]["validation"] == digests[1]["validation"]
    assert _aliases(client, name) == {"candidate": 2, "champion": 1}
    case.train(root, tracking="configs/tracking.yaml", fresh="true", max_epochs=1, registered_as="null")
    assert _aliases(client, name) == {"candidate": 2, "champion": 1}
    (latest,) = client.search_runs([first.info.experiment_id], max_results=1)
    assert "medkd.model_id" in latest.data.tags
    assert "medkd.model_version" not in latest.data.tags
    assert os.environ.get("MLFLOW_TRACKING_URI") is None
