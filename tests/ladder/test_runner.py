"""Running a ladder, on a bundle whose training takes no time."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from mlflow import MlflowClient

from medkd.cli import main
from medkd.datasets import write_datalist
from medkd.ladder import load_ladder, run_ladder
from medkd.ladder.cost import kept_minutes
from medkd.ladder.verdicts import verdicts
from medkd.report import report_of

from ..helpers import heed_signals

SEEDS = (0, 1)


@pytest.fixture(scope="module", autouse=True)
def _no_server():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("MEDKD_PARENT_RUN", raising=False)
        yield


@pytest.fixture(scope="module")
def good(fake_bundle):
    return load_ladder(fake_bundle, ["pair"])


def run(ladder, root, **kwargs):
    write_datalist(root.parent / "datalist.json", {"patients": "hearts"})
    options = {"dataset_dir": root.parent, "seeds": SEEDS, "overrides": {"max_epochs": 2}, "progress": False}
    return run_ladder(ladder, root, **{**options, **kwargs})


@pytest.fixture(scope="module")
def done(good, tmp_path_factory):
    """A ladder that ran: its folder and its scores."""
    root, logger = tmp_path_factory.mktemp("ladder") / "out", logging.getLogger()
    before = logger.handlers[:], logger.level
    scores = run(good, root, report=report_of)
    assert (logger.handlers, logger.level) == before
    return root, scores


def client(root):
    return MlflowClient(tracking_uri=f"sqlite:///{root / 'mlruns.db'}")


def runs(root):
    store = client(root)
    found = store.search_runs([store.get_experiment_by_name("fake").experiment_id])
    parents = [item for item in found if item.data.tags.get("medkd.kind") == "ladder"]
    return parents, [item for item in found if item not in parents]


def started(root):
    """The runs of cells, if there is a store yet: tags are the last thing that a run's start logs."""
    return runs(root)[1] if (root / "parent_run.txt").is_file() else []


def modified(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.name in {"cases.csv", "model.pt"}}


def test_every_cell_is_trained_and_tested_with_its_settings(done):
    root, scores = done
    assert len(scores) == 2 * 2 * 2
    of = scores.set_index(["rung", "seed", "patient"])["dice"]
    assert of["low", 0, "a"] == pytest.approx(0.4)  # the mean of 0.3 and 0.5
    assert of["high", 1, "b"] == pytest.approx(0.71)
    assert (root / "high" / "seed1" / "models" / "model.pt").read_text() == "0.7"
    assert "training with 0.7" in (root / "high" / "seed1" / "log.txt").read_text()


def test_the_tables_are_written(done):
    root, scores = done
    assert pd.read_csv(root / "patients.csv")["dice"].tolist() == pytest.approx(scores["dice"].tolist())
    assert "| high − low |" in (root / "ladder.md").read_text()
    assert (root / "ladder.png").is_file()
    assert not (root / "report.html").exists()  # it wants students that are networks; the ladder is done without it


def test_the_cells_are_children_of_one_finished_parent(done):
    root, scores = done
    (parent,), children = runs(root)
    assert sorted(child.info.run_name for child in children) == [
        f"{rung}-seed{seed}-{parent.info.run_name[-6:]}" for rung in ("high", "low") for seed in SEEDS
    ]
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert {child.info.status for child in [parent, *children]} == {"FINISHED"}
    assert parent.info.run_name == (root / "run_name.txt").read_text().strip()
    assert re.fullmatch(r"ladder-fake_bundle-[0-9]{8}-[0-9]{6}-[0-9a-f]{6}", parent.info.run_name)
    assert (parent.data.params["max_epochs"], parent.data.params["rungs"]) == ("2", "['low', 'high']")
    high = scores[scores["rung"] == "high"]["dice"].mean()
    assert parent.data.metrics["dice_high"] == pytest.approx(high)
    logged = {item.path for item in client(root).list_artifacts(parent.info.run_id)}
    assert logged == {"ladder.csv", "ladder.md", "ladder.png", "patients.csv"}


def test_what_the_claims_come_to_ends_the_table_and_describes_the_parent(done, good):
    root, scores = done
    said = verdicts(good, scores)
    assert said.startswith("* high is better than low: Dice +0.400 [+0.400, +0.400], ")
    assert said.endswith(" training time; of the two take high.")
    assert (root / "ladder.md").read_text().endswith(f"\n\n{said}\n")
    ((parent,), _) = runs(root)
    assert parent.data.tags["mlflow.note.content"] == said


def test_what_a_rung_costs_stands_in_its_row(done):
    root, _ = done
    taken = [kept_minutes(root / "high" / f"seed{seed}") for seed in SEEDS]
    assert min(taken) > 0
    rows = pd.read_csv(root / "ladder.csv").set_index("rung")
    assert rows.loc["high", "minutes"] == pytest.approx(sum(taken) / 2, abs=1e-5)


def test_the_environment_is_left_as_it_was(done):
    assert "MEDKD_PARENT_RUN" not in os.environ


def test_a_second_call_does_nothing_again(done, good):
    root, scores = done
    before = modified(root)
    assert len(before) == 8
    again = run(good, root)
    pd.testing.assert_frame_equal(again, scores)
    assert modified(root) == before
    assert [len(part) for part in runs(root)] == [1, 4]


def test_a_missing_cell_alone_is_run_again(done, good):
    root, _ = done
    before, missing = modified(root), root / "low" / "seed0" / "eval" / "cases.csv"
    missing.unlink()
    run(good, root)
    after = modified(root)
    redone = {missing, root / "low" / "seed0" / "models" / "model.pt"}
    assert {path for path in after if after[path] != before[path]} == redone


@pytest.mark.parametrize(
    "other",
    [
        {"overrides": {"max_epochs": 3}},
        {"overrides": None},
        {"dataset_dir": "elsewhere"},
        {"overrides": {"epoch_length": None}},
    ],
)
def test_other_settings_are_refused(done, good, other, tmp_path, monkeypatch):
    root, _ = done
    monkeypatch.chdir(tmp_path)
    write_datalist(tmp_path / "elsewhere" / "datalist.json", {})
    with pytest.raises(
        ValueError, match=r"out: expected results of .*, found those of .*name another --output_dir"
    ) as refused:
        run(good, root, **other)
    assert "train.yaml" not in str(refused.value)  # only what differs is told
    wanted, found = re.search("of ({.*}), found those of ({.*});", str(refused.value)).groups()
    assert wanted != found


def test_other_defaults_of_the_bundle_are_refused(done, fake_bundle, tmp_path):
    root, _ = done
    copy = shutil.copytree(fake_bundle, tmp_path / fake_bundle.name)
    with (copy / "configs" / "train.yaml").open("a") as file:
        file.write("\nlearning_rate: 1.0\n")
    with pytest.raises(ValueError, match=r"out: expected results of .*train\.yaml"):
        run(load_ladder(copy, ["pair"]), root)


def test_a_datalist_that_was_made_again_is_another_ladder(done, fake_bundle, tmp_path):
    root = shutil.copytree(done[0], tmp_path / "out")
    settings = json.loads((root / "settings.json").read_text())
    write_datalist(tmp_path / "datalist.json", {"patients": "hearts"})
    settings["overrides"]["dataset_dir"] = str(tmp_path)
    (root / "settings.json").write_text(json.dumps({**settings, "datalist": "0123456789ab"}))
    with pytest.raises(ValueError, match=r"out: expected results of {'datalist': .*found those of {'datalist': '0123"):
        run(load_ladder(fake_bundle, ["pair"]), root)


def test_other_code_of_the_bundle_is_refused(fake_bundle, tmp_path):
    copy = shutil.copytree(fake_bundle, tmp_path / fake_bundle.name)
    (copy / "scripts").mkdir()
    for name in ("losses.py", "test_losses.py"):
        (copy / "scripts" / name).write_text("FACTOR = 1\n")
    ladder = load_ladder(copy, ["pair"])
    run(ladder, tmp_path / "out")
    (copy / "scripts" / "test_losses.py").write_text("FACTOR = 2\n")
    run(ladder, tmp_path / "out")  # of what is trained it says nothing
    (copy / "scripts" / "losses.py").write_text("FACTOR = 2\n")
    with pytest.raises(ValueError, match=r"out: expected results of .*scripts/losses\.py"):
        run(ladder, tmp_path / "out")


def test_a_dataset_that_does_not_exist_is_refused_before_its_place_is_claimed(good, tmp_path):
    with pytest.raises(FileNotFoundError, match="no datalist there"):
        run(good, tmp_path / "out", dataset_dir=tmp_path / "nowhere")
    assert not (tmp_path / "out").exists()


def test_a_rung_that_changed_is_refused(done, good):
    root, _ = done
    changed = type(good)(good.bundle, {**good.rungs, "low": {"gain": 0.9}}, good.claims)
    with pytest.raises(ValueError, match=r"low/seed0: expected results of .*0\.9.*, found those of .*0\.3"):
        run(changed, root)


def test_a_cell_that_fails_names_its_log_and_a_server_may_be_named(done, fake_bundle, tmp_path, monkeypatch):
    store = f"sqlite:///{done[0] / 'mlruns.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    ladder, handlers = load_ladder(fake_bundle, ["broken"]), logging.getLogger().handlers[:]
    with pytest.raises(
        RuntimeError,
        match=rf"broken-seed0-[0-9a-f]{{6}} failed: list index out of range \(its log: {tmp_path}/out/broken/seed0/log\.txt\)$",
    ):
        run(ladder, tmp_path / "out", seeds=[0])
    assert "IndexError: list index out of range" in (tmp_path / "out" / "broken" / "seed0" / "log.txt").read_text()
    parent = MlflowClient(store).get_run((tmp_path / "out" / "parent_run.txt").read_text())
    assert parent.info.status == "FAILED"
    assert not (tmp_path / "out" / "mlruns.db").exists()
    assert logging.getLogger().handlers == handlers
    assert "MEDKD_PARENT_RUN" not in os.environ


def test_a_ladder_that_is_stopped_says_so_and_goes_on_in_the_same_runs(good, fake_bundle, tmp_path):
    root = tmp_path / "out"
    (root / "wait").mkdir(parents=True)
    write_datalist(tmp_path / "datalist.json", {"patients": "hearts"})
    command = [sys.executable, "-m", "medkd.cli", "ladder", str(fake_bundle), "--rungs", "low", "--set", "max_epochs=2"]
    process = subprocess.Popen(
        [*command, "--dataset_dir", str(tmp_path), "--output_dir", str(root)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_signals,
    )
    deadline = time.monotonic() + 400
    while not any("version.python" in cell.data.tags for cell in started(root)):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert said.strip().splitlines()[-1] == "medkd: stopped by SIGINT"
    assert [run.info.status for part in runs(root) for run in part] == ["KILLED", "KILLED"]
    (root / "wait").rmdir()
    before = kept_minutes(root / "low" / "seed0")
    run(load_ladder(fake_bundle, ["low"]), root, seeds=[0])
    assert kept_minutes(root / "low" / "seed0") > before > 0
    assert [run.info.status for part in runs(root) for run in part] == ["FINISHED", "FINISHED"]


def test_a_ladder_of_an_earlier_version_goes_on_in_its_run(done, good):
    root, _ = done
    before = [len(part) for part in runs(root)]
    run_id = (root / "parent_run.txt").read_text()
    client(root).update_run(run_id, name="ladder-fake_bundle")
    (root / "run_name.txt").unlink()
    run(good, root)
    assert [len(part) for part in runs(root)] == before
    assert (root / "parent_run.txt").read_text() == run_id
    name = client(root).get_run(run_id).info.run_name
    assert name == f"ladder-fake_bundle-{run_id[:6]}"  # which its children's names end with


def test_the_command_prints_the_table(done, fake_bundle, capsys):
    root, _ = done
    arguments = ["--dataset_dir", str(root.parent), "--seeds", "0", "1", "--rungs", "pair"]
    arguments += ["--output_dir", str(root), "--set", "max_epochs=2"]
    assert main(["ladder", str(fake_bundle), *arguments]) == 0
    printed = capsys.readouterr().out
    assert (root / "ladder.md").read_text().strip() in printed
    assert "2 test hearts" in printed
    assert f"ui --workers 1 --backend-store-uri sqlite:///{root / 'mlruns.db'}" in printed
    experiment = client(root).get_experiment_by_name("fake").experiment_id
    assert f"http://127.0.0.1:5000/#/experiments/{experiment}/runs?workflowType=machine_learning" in printed
