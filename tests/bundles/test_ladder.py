"""A ladder of a real bundle: what it prints, what it writes, and what it leaves in MLflow."""

import re
from pathlib import Path

import mlflow

from medkd.cli import main

from .conftest import Case


def test_ladder_prints_and_writes_its_table(case: Case, ladder: tuple[Path, str]) -> None:
    root, printed = ladder
    assert all(f"| {rung} |" in printed for rung in case.rungs)
    assert f"| {case.claim} |" in printed
    for name in ("ladder.csv", "ladder.md", "ladder.png", "report.html", "patients.csv"):
        assert (root / name).stat().st_size > 0


def test_cells_are_children_of_one_run(case: Case, ladder: tuple[Path, str]) -> None:
    root, _ = ladder
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlruns.db'}")
    experiment = next(e for e in client.search_experiments() if e.name != "Default")
    runs = client.search_runs(experiment.experiment_id)
    (parent,) = [run for run in runs if run.data.tags.get("medkd.kind") == "ladder"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    names = [f"{rung}-seed0-{parent.info.run_name[-6:]}" for rung in sorted(case.rungs)]
    assert sorted(run.info.run_name for run in children) == names
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    assert {artifact.path for artifact in client.list_artifacts(parent.info.run_id)} >= {
        "ladder.png",
        "ladder.csv",
        "report.html",
    }
    child = next(run for run in children if run.info.run_name.startswith(f"{case.rungs[-1]}-seed0"))
    assert set(case.terms) <= child.data.metrics.keys()
    for run in children:  # what counts stands beside the scores of the validation
        assert f"test/{case.key_metric.removeprefix('val_')}" in run.data.metrics
        assert "test/cases.csv" in {artifact.path for artifact in client.list_artifacts(run.info.run_id, "test")}
    assert "medkd.model_id" in child.data.tags  # its student can be deployed, and is not registered
    assert child.data.tags["medkd.digest.test"] == children[0].data.tags["medkd.digest.test"]
    registered = {version.run_id for version in client.search_model_versions("")}
    assert registered.isdisjoint(run.info.run_id for run in children)
    assert "overlays" in {artifact.path for artifact in client.list_artifacts(child.info.run_id)}


def test_its_report_has_every_part(case: Case, ladder: tuple[Path, str], tmp_path: Path) -> None:
    """What the bundle's evaluation keeps is what the report reads: nothing that a ladder leaves is missing."""
    root, _ = ladder
    assert main(["report", str(root), "--output", str(tmp_path / "report.html")]) == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "which tell nothing about patients" in text
    assert "Kept:" in text  # the epochs of the learning curves
    absent = re.findall(r'class="absent soft">([^<]+)', text)
    assert [one for one in absent if "medkd efficiency" not in one] == []
    assert text.count("<article") == text.count('class="panels"') > 0
