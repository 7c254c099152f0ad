"""A bundle is put into an app whole or not at all, and taken back."""

import re

import pytest
import torch

from medkd.cli import main
from medkd.serving import deploy, keep_student, rollback
from medkd.serving.versions import decide, last_decision, serve, served

from .test_checks import _second_weights


@pytest.fixture
def app(tmp_path):
    (tmp_path / "app" / "model").mkdir(parents=True)
    (tmp_path / "app" / "main.py").touch()
    return tmp_path / "app"


def test_the_server_finds_the_student_and_what_retraining_needs(volume_bundle, app):
    (volume_bundle / "checkpoints" / "teacher").mkdir(parents=True)
    (volume_bundle / "checkpoints" / "teacher" / "best.pt").write_bytes(b"teacher")
    (volume_bundle / "checkpoints" / "epoch=0001.pt").write_bytes(b"state")
    found = deploy(volume_bundle, app)
    assert found.path == app / "model" / "confkd_cardiac_mri_segmentation"
    assert (found.path / "models" / "model.pt").read_bytes() == (volume_bundle / "models" / "model.pt").read_bytes()
    assert (found.path / "configs" / "train.yaml").is_file()
    assert [path.name for path in (found.path / "checkpoints").iterdir()] == ["teacher.pt"]
    assert [path.name for path in (app / "model").glob("[!.]*")] == ["confkd_cardiac_mri_segmentation"]
    (volume_bundle / "checkpoints" / "teacher.pt").write_bytes(b"brought along")
    assert (deploy(volume_bundle, app).path / "checkpoints" / "teacher.pt").read_bytes() == b"brought along"


def test_versions_follow_each_other_and_can_be_taken_back(volume_bundle, app):
    deploy(volume_bundle, app, name="heart")
    weights = (volume_bundle / "models" / "model.pt").read_bytes()
    (volume_bundle / "docs" / "README.md").write_text("second")
    second = deploy(volume_bundle, app, name="heart")
    assert second.version.name == "0002"
    assert (second.path / "docs" / "README.md").read_text() == "second"
    first = rollback(app, "heart")
    assert first.version.name == "0001"
    assert (first.path / "docs" / "README.md").read_text() != "second"
    assert (first.path / "models" / "model.pt").read_bytes() == weights
    (first.version.parent / ".123-0002").mkdir()  # a copy in the making
    with pytest.raises(FileNotFoundError, match="expected a version before 0001, found none"):
        rollback(app, "heart")
    assert deploy(volume_bundle, app, name="heart").version.name == "0003"


def test_what_is_taken_back_is_what_was_served_before(volume_bundle, app, tmp_path):
    """Not the version of the number before, which had been taken back itself."""
    place = app / "model" / "heart"
    for _ in range(2):
        deploy(volume_bundle, app, name="heart")
    rollback(app, "heart")
    third = keep_student(place, retrained(volume_bundle, tmp_path))
    decide(third, {"promoted": True})
    serve(place, third)
    assert rollback(app, "heart").version.name == "0001"
    with pytest.raises(FileNotFoundError, match="expected a version before 0001"):
        rollback(app, "heart")
    assert (served(place).parent / "served.json").read_text() == '["0001"]\n'


def retrained(bundle, folder):
    """The file of another student of the bundle."""
    content = torch.load(bundle / "models" / "model.pt", weights_only=True)
    content["model"] = {key: value * 2 for key, value in content["model"].items()}
    torch.save(content, folder / "trained.pt")
    return folder / "trained.pt"


def test_a_retrained_student_is_a_version_that_waits(volume_bundle, app, tmp_path):
    place = deploy(volume_bundle, app, name="heart").path
    (place / "data").mkdir()
    (place / "data" / "datalist.json").write_text("[]")
    assert last_decision(place) == {}
    student = retrained(volume_bundle, tmp_path)
    version = keep_student(place, student)
    assert (served(place).name, version.name) == ("0001", "0002")
    assert (version / "models" / "model.pt").read_bytes() == student.read_bytes()
    assert (version / "configs" / "train.yaml").read_bytes() == (place / "configs" / "train.yaml").read_bytes()
    assert last_decision(place)["promoted"] is False
    app.rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "model" / ".versions" / "heart" / "0002" / "data" / "datalist.json").is_file()


def test_what_was_never_served_does_not_come_back(volume_bundle, app, tmp_path):
    place = deploy(volume_bundle, app, name="heart").path
    for promoted in (False, True):
        version = keep_student(place, retrained(volume_bundle, tmp_path))
        decide(version, {"promoted": promoted})
    serve(place, version)
    assert last_decision(place) == {"version": "0003", "promoted": True}
    assert rollback(app, "heart").version.name == "0001"


def test_a_linked_bundle_is_not_written_to(volume_bundle, app, tmp_path):
    place = deploy(volume_bundle, app, name="heart", link=True).path
    before = (volume_bundle / "models" / "model.pt").read_bytes()
    student = retrained(volume_bundle, tmp_path)
    serve(place, keep_student(place, student))
    assert (place / "models" / "model.pt").read_bytes() == student.read_bytes()
    assert (volume_bundle / "models" / "model.pt").read_bytes() == before


def test_a_link_leads_to_the_bundle_itself(volume_bundle, app):
    found = deploy(volume_bundle, app, link=True)
    (volume_bundle / "docs" / "README.md").write_text("changed")
    assert (found.path / "docs" / "README.md").read_text() == "changed"


def test_a_refused_bundle_changes_nothing(volume_bundle, app):
    deploy(volume_bundle, app)
    _second_weights(volume_bundle)
    before = sorted(str(path) for path in app.rglob("*"))
    with pytest.raises(ValueError, match=r"cannot be served:\n  - .*expected model\.pt alone"):
        deploy(volume_bundle, app)
    assert sorted(str(path) for path in app.rglob("*")) == before


def test_a_copy_that_fails_leaves_the_old_version(volume_bundle, app, monkeypatch):
    found = deploy(volume_bundle, app)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medkd.serving.place.shutil.copytree", full)
    with pytest.raises(OSError, match="No space left"):
        deploy(volume_bundle, app)
    assert found.path.resolve() == found.version
    assert [path.name for path in found.version.parent.iterdir() if path.is_dir()] == ["0001"]


def test_what_is_no_app_or_no_deployment_is_left_alone(volume_bundle, app, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(
        FileNotFoundError, match=r"expected a MONAI Label app with main\.py or an empty folder, found other"
    ):
        deploy(volume_bundle, tmp_path / "other")
    (app / "model" / "own").mkdir()
    with pytest.raises(ValueError, match=r"own: expected nothing or an earlier deployment, found a folder"):
        deploy(volume_bundle, app, name="own")
    with pytest.raises(FileNotFoundError, match="expected a deployed bundle, found none"):
        rollback(app, "own")


def test_the_command_prints_how_to_start(volume_bundle, app, capsys):
    assert main(["deploy", str(volume_bundle), str(app), "--name", "heart"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"Serves: +\S+/model/heart -> \S+/0001", printed)
    assert "--conf models heart --conf zoo_source ngc --conf sam2 false --host 127.0.0.1" in printed
    assert """MONAI_LABEL_DICOMWEB_SEARCH_FILTER='{"Modality": "MR"}'""" in printed
    assert main(["deploy", "heart", str(app), "--rollback"]) == 1
    assert "expected a version before 0001" in capsys.readouterr().err


def test_where_there_is_no_app_medkd_s_own_is_made(volume_bundle, tmp_path):
    found = deploy(volume_bundle, tmp_path / "new" / "app")
    assert "import MyApp" in (tmp_path / "new" / "app" / "main.py").read_text()
    assert (found.path / "models" / "model.pt").is_file()
