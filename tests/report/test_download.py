"""A report of what MLflow holds, from a real store."""

import re

import mlflow
import pandas as pd
import pytest

from medkd.bundle import bundle_path
from medkd.cli import main
from medkd.report import read_material
from medkd.report.download import download

from .planted import plant


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with the runs of a ladder, as ``medkd ladder`` and its tracking name them."""
    tmp_path = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{tmp_path / 'mlruns.db'}"
    client, root = mlflow.MlflowClient(uri), plant(tmp_path / "ladder", bad="p07")
    experiment = client.create_experiment("compact_segmentation", artifact_location=(tmp_path / "artifacts").as_uri())
    parent = client.create_run(
        experiment, run_name="ladder-compact_segmentation", tags={"medkd.kind": "ladder"}
    ).info.run_id
    client.log_artifact(parent, str(root / "patients.csv"))
    client.log_param(parent, "dataset_dir", str(tmp_path / "ladder-data"))
    for cell in sorted(root.glob("*/seed*")):
        name = f"{cell.parent.name}-{cell.name}-{parent[:6]}"
        child = client.create_run(experiment, run_name=name, tags={"mlflow.parentRunId": parent}).info.run_id
        for table in (cell / "eval").glob("*.csv"):
            client.log_artifact(child, str(table), "test")
        for epoch, value in ((1, 0.5), (2, 0.8), (3, 0.7)):
            client.log_metric(child, "val/mean_dice", value, step=epoch)
            client.log_metric(child, "train/loss", 1 / epoch, step=epoch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        yield client, parent, root


def test_a_ladder_s_run_says_what_its_folder_says(store, tmp_path, capsys):
    _, parent, root = store
    here, there = tmp_path / "here.html", tmp_path / "there.html"
    assert main(["report", str(root), "--output", str(here)]) == 0
    said = capsys.readouterr().out.splitlines()[:3]
    assert main(["report", f"runs:/{parent}", "--output", str(there)]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == said
    text = there.read_text(encoding="utf-8")
    assert "no evaluation kept slices" in text
    assert re.search(r"pixel epoch 2\s+\(0\.800\)", text), "the epoch that was kept"


def test_the_tables_are_those_that_were_logged(store, tmp_path):
    _, parent, root = store
    fetched, planted = read_material(download(f"runs:/{parent}", tmp_path / "out")), read_material(root)
    pd.testing.assert_frame_equal(fetched.cases, planted.cases)
    pd.testing.assert_frame_equal(fetched.trust, planted.trust)


def test_a_training_s_own_run_has_a_report(store, tmp_path):
    client, _, _ = store
    child = client.search_runs(["1"], "attributes.run_name LIKE 'pixel-seed0-%'")[0].info.run_id
    assert (
        main(
            [
                "report",
                f"runs:/{child}",
                "--bundle",
                str(bundle_path("compact")),
                "--output",
                str(tmp_path / "one.html"),
            ]
        )
        == 0
    )
    assert "no student was trained alone" in (tmp_path / "one.html").read_text(encoding="utf-8")


def test_a_run_without_a_test_is_refused(store, tmp_path):
    client, _, _ = store
    empty = client.create_run("1", run_name="nothing").info.run_id
    with pytest.raises(ValueError, match=rf"runs:/{empty}: expected a run with test/cases.csv"):
        download(f"runs:/{empty}", tmp_path / "out")
