"""A student goes from a training's run through a registry into an app."""

import filecmp
from pathlib import Path

import pytest
from mlflow import MlflowClient

from medkd.cli import main
from medkd.files import sha256
from medkd.handlers.champion import promote
from medkd.handlers.logged_model import log_student
from medkd.handlers.tracking_client import WholeCalls, experiment_id, fallback_client
from medkd.serving import deploy, deploy_model, rollback
from medkd.serving.registry import fetched, registered_name

from ..helpers import mlflow_server
from .conftest import small_copy

NO_CHAMPION = (
    "models:/kidneys@champion: expected an alias of kidneys, which are: candidate; an evaluation of a registered student "
    "makes one"
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return small_copy("kdas_polyp_segmentation", tmp_path_factory.mktemp("bundle"))


def logged(client, bundle, *, registered_as="hearts", score=None):
    """The run of a training, evaluated if there is a score."""
    run = client.create_run(experiment_id(client, "hearts"), run_name="run").info.run_id
    student, teacher = bundle / "models" / "model.pt", bundle / "checkpoints" / "teacher.pt"
    log_student(client, run, bundle_dir=bundle, model_path=student, teacher=teacher, registered_as=registered_as)
    if score is not None:
        client.log_metric(run, "test/mean_dice", score)
        client.set_tag(run, "medkd.digest.test", "d" * 32)
        client.set_tag(run, "medkd.sha256.test_student", sha256(student))
        promote(client, run, metric="test/mean_dice")
    return run


@pytest.fixture(scope="module")
def store(tmp_path_factory, bundle):
    """The address of a store with the champion, a candidate, and a student that is not registered."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlruns.db'}"
    client = MlflowClient(uri)
    logged(client, bundle, score=0.5)
    logged(client, bundle)
    logged(client, bundle, registered_as=None)
    logged(client, bundle, registered_as="kidneys")
    return uri


def same(left, right):
    """Whether two folders hold the same files."""
    names = [{str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()} for top in (left, right)]
    assert names[0] == names[1]
    return filecmp.cmpfiles(left, right, names[0], shallow=False)[1:] == ([], [])


@pytest.mark.parametrize("place", ["hearts@champion", "hearts@candidate", "hearts/1"])
def test_the_app_gets_what_it_would_get_of_the_folder(store, bundle, tmp_path, monkeypatch, capsys, place):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert main(["deploy", f"models:/{place}", str(tmp_path / "app")]) == 0
    assert f"Serves:   {tmp_path / 'app' / 'model' / 'hearts'}" in capsys.readouterr().out
    expected = deploy(bundle, tmp_path / "other", name="hearts")
    assert same(tmp_path / "app" / "model" / "hearts", expected.path.resolve())


def test_a_second_deployment_is_a_version_that_can_be_taken_back(store, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    for _ in range(2):
        found = deploy_model("models:/hearts@champion", tmp_path / "app", name="mine")
    assert found.version.name == "0002"
    assert main(["deploy", "--rollback", "models:/mine@champion", str(tmp_path / "app")]) == 0
    with pytest.raises(FileNotFoundError, match="expected a version before 0001"):
        rollback(tmp_path / "app", "mine")


def test_a_student_that_is_not_registered_has_an_id(store, bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    client = MlflowClient(store)
    (model,) = [
        model
        for model in client.search_logged_models([experiment_id(client, "hearts")])
        if "medkd.model_version" not in client.get_run(model.source_run_id).data.tags
    ]
    with fetched(f"models:/{model.model_id}") as folder:
        assert filecmp.cmp(folder / "models" / "model.pt", bundle / "models" / "model.pt", shallow=False)
        assert not (folder / "checkpoints").exists()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("models:/livers@champion", "models:/livers@champion: expected a registered model, which are: hearts, kidneys"),
        ("models:/hearts@best", "models:/hearts@best: expected an alias of hearts, which are: candidate, champion"),
        ("models:/kidneys@champion", NO_CHAMPION),
        ("models:/hearts/7", "models:/hearts/7: expected a version, which are: 1, 2"),
        ("models:/hearts", "models:/hearts: expected models:/NAME@ALIAS or models:/NAME/VERSION"),
        (f"models:/m-{'0' * 32}", f"models:/m-{'0' * 32}: expected a logged model, found none"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(store, tmp_path, monkeypatch, capsys, place, message):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert main(["deploy", place, str(tmp_path / "app")]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"medkd: error: {message}"
    assert not (tmp_path / "app").exists()


def test_a_student_that_was_changed_in_the_store_is_not_served(store, bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    place = MlflowClient(store).get_model_version_download_uri("kidneys", "1")
    student = Path(place.removeprefix("file://")) / "data" / "bundle" / "models" / "model.pt"
    with student.open("ab") as file:
        file.write(b"0")
    wanted, found = sha256(bundle / "models" / "model.pt"), sha256(student)
    with pytest.raises(ValueError, match=f"expected the student of SHA-256 {wanted}, found {found}: it was changed"):
        deploy_model("models:/kidneys@candidate", tmp_path / "app")


def test_a_model_of_another_kind_is_refused(store, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {sklearn: {}}\n")
    made = MlflowClient(store).create_model_version("kidneys", (tmp_path / "model").as_uri())
    with pytest.raises(ValueError, match="expected a student that medkd has logged, with its bundle"):
        deploy_model(f"models:/kidneys/{made.version}", tmp_path / "app")


def test_a_store_must_be_named_and_there(tmp_path, monkeypatch):
    with pytest.raises(
        ValueError, match="MLFLOW_TRACKING_URI: expected the MLflow store that has the model, found nothing"
    ):
        deploy_model("models:/hearts@champion", tmp_path / "app")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")
    with pytest.raises(FileNotFoundError, match=r"expected a store, found no file .*none\.db"):
        deploy_model("models:/hearts@champion", tmp_path / "app")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(ConnectionError, match=r"MLFLOW_TRACKING_URI http://127\.0\.0\.1:9: expected an answer, found"):
        deploy_model("models:/hearts@champion", tmp_path / "app")


def test_what_a_downloaded_student_cannot_be_is_refused(tmp_path, capsys):
    for more in (["--link"], ["--runtime", "onnx"]):
        assert main(["deploy", "models:/hearts@champion", str(tmp_path / "app"), *more]) == 1
        assert "expected neither --link nor another --runtime" in capsys.readouterr().err


def test_names_of_models():
    assert [registered_name(f"models:/{place}") for place in ("a@b", "a_b/12", f"m-{'0' * 32}")] == [
        "a",
        "a_b",
        "student",
    ]


def test_a_server_keeps_it_and_a_run_that_loses_it_has_it_on_this_side(bundle, tmp_path, tools, monkeypatch):
    with mlflow_server(tmp_path / "server", tools) as server:
        address = server.address
        client = WholeCalls(fallback_client(MlflowClient(address), tmp_path / "offline", run="run"))
        run = logged(client, bundle, score=0.5)
        assert client.get_run(run).data.tags["medkd.model_version"] == "hearts/1"
        (output,) = client.get_run(run).outputs.model_outputs
        assert client.get_logged_model(output.model_id).status.value == "READY"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        found = deploy_model("models:/hearts@champion", tmp_path / "app")
        assert (found.path / "models" / "model.pt").read_bytes() == (bundle / "models" / "model.pt").read_bytes()
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        assert not (tmp_path / "offline").exists()
        _lost_within(client, server)
        log_student(client, run, bundle_dir=bundle, model_path=bundle / "models" / "model.pt", registered_as="hearts")
    local = MlflowClient(f"sqlite:///{tmp_path / 'offline' / 'mlruns-offline.db'}")
    assert local.get_registered_model("hearts").aliases == {"candidate": 1}
    (here,) = local.search_runs([local.get_experiment_by_name("hearts").experiment_id])
    model = local.get_logged_model(here.data.tags["medkd.model_id"])
    assert (model.status.value, model.source_run_id) == ("READY", here.info.run_id)
    place = Path(model.artifact_location.removeprefix("file://"))
    student = place / "data" / "bundle" / "models" / "model.pt"
    assert student.read_bytes() == (bundle / "models" / "model.pt").read_bytes()


def _lost_within(client, server):
    """The server goes when the model has been made there, and its files have not come yet."""
    real = client._client

    class Losing:
        def __getattr__(self, name):
            if name == "log_model_artifacts":
                server.kill()
            return getattr(real, name)

    client._client = Losing()
