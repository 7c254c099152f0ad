"""Candidates and champions in a real registry."""

import json
import re

import pytest
from mlflow import MlflowClient

from medkd.handlers.champion import promote
from medkd.handlers.logged_model import register

DATA, OTHER = "a" * 32, "b" * 32


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    return MlflowClient(f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlruns.db'}")


@pytest.fixture
def made(client, request):
    """Makes a run with a registered student, as ``log_student`` leaves it, but for the files."""
    name = re.sub(r"\W+", "-", request.node.name)
    experiment = client.create_experiment(name)

    def make(student, *, registered=True):
        run = client.create_run(experiment).info.run_id
        model = client.create_logged_model(experiment, name="student", source_run_id=run, tags={"sha256": student})
        client.set_tag(run, "medkd.model_id", model.model_id)
        if registered:
            register(client, run, name)
        return run

    make.name = name
    return make


def evaluated(client, run, score, *, student, digest=DATA):
    """As an evaluation leaves the run; what was decided."""
    client.log_metric(run, "test/mean_dice", score)
    client.set_tag(run, "medkd.digest.test", digest)
    client.set_tag(run, "medkd.sha256.test_student", student)
    return promote(client, run, metric="test/mean_dice")


def aliases(client, made):
    return {alias: int(version) for alias, version in client.get_registered_model(made.name).aliases.items()}


def test_the_newest_is_the_candidate_and_nobody_is_champion_untested(client, made):
    made("1")
    second = made("2")
    assert aliases(client, made) == {"candidate": 2}
    assert client.get_run(second).data.tags["medkd.model_version"] == f"{made.name}/2"
    assert client.get_model_version(made.name, "2").run_id == second


def test_a_student_knows_as_what_it_is_registered_and_a_version_has_no_tags_of_mlflow(client, made):
    run = made("1", registered=False)
    model_id = client.get_run(run).data.tags["medkd.model_id"]
    for number in (1, 2):
        register(client, run, made.name)
        versions = json.loads(client.get_logged_model(model_id).tags["mlflow.modelVersions"])
        assert versions == [{"name": made.name, "version": str(one + 1)} for one in range(number)]
        assert client.get_model_version(made.name, str(number)).tags == {"sha256": "1"}


def test_the_first_that_is_scored_is_the_champion(client, made):
    first = made("1")
    assert evaluated(client, first, 0.5, student="1") == "yes: there was none before; test/mean_dice 0.5000"
    assert aliases(client, made) == {"candidate": 1, "champion": 1}
    assert client.get_run(first).data.tags["medkd.champion"].startswith("yes")
    assert client.get_model_version(made.name, "1").tags[f"test/mean_dice/{DATA}"] == "0.5"


@pytest.mark.parametrize(
    ("score", "digest", "champion", "reason"),
    [
        (0.6, DATA, 2, "yes: test/mean_dice 0.6000 is above the 0.5000 of version 1 on the same data"),
        (0.4, DATA, 1, "no: test/mean_dice 0.4000 is not above the 0.5000 of the champion, version 1"),
        (0.5, DATA, 1, "no: test/mean_dice 0.5000 is not above the 0.5000 of the champion, version 1"),
        (0.9, OTHER, 1, f"no: the champion, version 1, was not scored on the same test data ({OTHER})"),
        (float("nan"), DATA, 1, "no: test/mean_dice is not a number"),
    ],
    ids=["better", "worse", "equal", "other data", "nan"],
)
def test_a_champion_is_replaced_by_a_better_one_on_the_same_data_alone(client, made, score, digest, champion, reason):
    first, second = made("1"), made("2")
    evaluated(client, first, 0.5, student="1")
    assert evaluated(client, second, score, student="2", digest=digest) == reason
    assert client.get_run(second).data.tags["medkd.champion"] == reason
    assert aliases(client, made) == {"candidate": 2, "champion": champion}


def test_a_champion_that_was_scored_on_the_other_data_too_can_be_beaten_there(client, made):
    first, second = made("1"), made("2")
    evaluated(client, first, 0.5, student="1")
    evaluated(client, first, 0.3, student="1", digest=OTHER)
    assert evaluated(client, second, 0.4, student="2", digest=OTHER).startswith("yes")
    assert aliases(client, made)["champion"] == 2


def test_the_champion_evaluated_again_stays_whatever_it_scores(client, made):
    first = made("1")
    evaluated(client, first, 0.5, student="1")
    assert evaluated(client, first, 0.4, student="1") == "yes: it is the champion; test/mean_dice 0.4000"
    assert aliases(client, made)["champion"] == 1


def test_what_was_scored_must_be_what_was_registered(client, made):
    run = made("1")
    assert evaluated(client, run, 0.9, student="other") == f"no: another student was scored than {made.name}/1"
    assert "champion" not in aliases(client, made)


def test_a_student_that_is_not_registered_here_is_no_champion(client, made):
    run = made("1", registered=False)
    assert evaluated(client, run, 0.9, student="1") is None
    client.set_tag(run, "medkd.model_version", "elsewhere/7")  # of another store
    assert promote(client, run, metric="test/mean_dice") is None
    gone = made("2")
    client.delete_model_version(made.name, "1")
    assert evaluated(client, gone, 0.9, student="2") is None


def test_a_student_without_a_score_is_left_alone(client, made):
    run = made("1")
    assert promote(client, run, metric="test/mean_dice") is None
    client.log_metric(run, "test/mean_dice", 0.5)
    assert promote(client, run, metric="test/other") is None
    assert aliases(client, made) == {"candidate": 1}


def test_a_run_without_a_model_cannot_be_registered(client):
    run = client.create_run(client.create_experiment("empty")).info.run_id
    with pytest.raises(ValueError, match=r"expected the tag medkd\.model_id of a student that was logged, found none"):
        register(client, run, "empty")
