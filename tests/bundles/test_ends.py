"""How trainings end: by an error, a signal, or over an earlier one; a user's own commands, in processes of their own."""

import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch

from ..helpers import heed_signals
from .conftest import Case, environment


def _last(said: str) -> str:
    """The last line on the screen; the file that the line before it names is read and removed."""
    details, line = said.strip().splitlines()[-2:]
    log = Path(details.removeprefix("Details: "))
    assert "Traceback (most recent call last)" in log.read_text()
    log.unlink()
    return line


def _content(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*.pt*")}


def test_a_finished_training_is_not_begun_again_by_accident(case: Case, trained: Path) -> None:
    before = _content(trained)
    for forgotten in ({}, {"resume": "false"}):
        done = case.train(trained, check=False, **forgotten)
        assert done.returncode == 1
        found = re.fullmatch(
            r"medkd: error: (.+\.pt): .*--resume true goes on with it, --fresh true deletes its saves.*",
            _last(done.stderr),
        )
        assert found
        assert Path(found[1]) in before
    assert _content(trained) == before


def test_a_fresh_training_takes_the_place_of_an_earlier_one(case: Case, trained: Path, tmp_path: Path) -> None:
    root = shutil.copytree(trained, tmp_path / "root")
    case.train(root, fresh="true", max_epochs=1, seed=1)
    assert [path.name for path in (root / "checkpoints").glob("epoch=*.pt")] == ["epoch=0001.pt"]
    assert (root / "models" / "model.pt").read_bytes() != (trained / "models" / "model.pt").read_bytes()


@pytest.mark.parametrize("case", ["kdas", "ikdmil"], indirect=True)
def test_an_earlier_first_stage_is_not_begun_again_either(tmp_path: Path, case: Case) -> None:
    stage = {"last_stage": 1, "teacher_path": "$None"} if "ikdmil" in case.bundle.name else {}
    extra = ["train_teacher.yaml"] if not stage else []
    own = {"teacher_path": tmp_path / "checkpoints" / "teacher.pt", "max_epochs": 1, **stage}
    case.train(tmp_path, *extra, **own)
    before = _content(tmp_path)
    done = case.train(tmp_path, *extra, check=False, **own)
    assert "--resume true goes on" in _last(done.stderr)
    assert _content(tmp_path) == before


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"class_names": "[nothing, of, it]"}, r"expected the classes \['nothing', 'of', 'it'\].*set class_names"),
        (
            {"batch_size": "many", "volumes_per_batch": "many"},
            r"(unknown key|expected a number such as \d+, found 'many')",
        ),
        ({"progress": "perhaps"}, r"train\.yaml: --progress: expected true or false, found 'perhaps'"),
        ({"class_names": "nothing"}, r"--class_names: expected a list such as \['.+'\], found 'nothing'"),
    ],
)
def test_the_cause_is_the_last_thing_on_the_screen(case: Case, tmp_path: Path, overrides: Any, said: str) -> None:
    done = case.train(tmp_path, check=False, **overrides)
    assert done.returncode == 1
    end = done.stderr[done.stderr.index("medkd: error: ") :]
    assert re.search(said, end), end
    assert "Failed to" not in end


@pytest.mark.parametrize("case", ["kdas"], indirect=True)
def test_who_lacks_a_teacher_is_told_how_to_train_one(case: Case, tmp_path: Path) -> None:
    done = case.train(tmp_path, check=False, teacher_path=tmp_path / "none.pt")
    line = _last(done.stderr)
    assert line.startswith(f"medkd: error: {tmp_path / 'none.pt'}: expected a trained model")
    assert "train_teacher.yaml" in line


@pytest.mark.parametrize("case", ["confkd"], indirect=True)
def test_a_program_that_fails_ends_with_the_cause(case: Case, tmp_path: Path) -> None:
    command = case.command(["inference.yaml"], bundle_root=tmp_path, dataset_dir=tmp_path / "nowhere")
    done = subprocess.run(command, cwd=case.bundle, capture_output=True, text=True, env=environment())
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert str(tmp_path / "nowhere") in _last(done.stderr)


EPOCHS = 30  # of a third of a second each: a question to the store may take seconds


class Training:
    """A tracked training that can be stopped."""

    def __init__(self, tools: Path, case: Case, root: Path, **overrides: Any) -> None:
        own = {
            "max_epochs": EPOCHS,
            "epoch_length": 10,
            "val_interval": 10,
            "tracking": "configs/tracking.yaml",
            **overrides,
        }
        self.root, self.settings, self.case = root, case.training(root, **own), case
        self.process = subprocess.Popen(
            [tools / "python", *case.command(["train.yaml"], **self.settings)[1:]],
            cwd=case.bundle,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=heed_signals,
        )

    def saves(self) -> list[str]:
        return sorted(path.name.removesuffix(".sha256") for path in self.root.glob("checkpoints/epoch=*.sha256"))

    def stop(self, number: int) -> str:
        """A signal once it runs and has saved an epoch; what the training printed."""
        self._wait_for_a_save()  # two processes that make a store at once would get into each other's way
        assert statuses(self.root)[-1] == "RUNNING"
        self._wait_for_a_save()
        self.process.send_signal(number)
        printed, _ = self.process.communicate(timeout=60)
        assert f"epoch={EPOCHS:04d}.pt" not in self.saves(), "it was stopped too late to tell anything"
        return printed

    def _wait_for_a_save(self) -> None:
        before, deadline = self.saves()[-1:], time.monotonic() + 120
        while self.saves()[-1:] <= before:
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)


def statuses(root: Path) -> list[str]:
    """Of the trainings in the store, the oldest first."""
    client = mlflow.MlflowClient(f"sqlite:///{root / 'eval' / 'mlruns.db'}")
    experiment = next(e for e in client.search_experiments() if e.name != "Default")
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    return [run.info.status for run in runs]


@pytest.mark.parametrize("case", ["confkd"], indirect=True)
def test_stopped_trainings_are_told_as_such_and_go_on_in_one_run(tools: Path, case: Case, tmp_path: Path) -> None:
    for number, status, resume in ((signal.SIGINT, 130, "false"), (signal.SIGTERM, 143, "true")):
        training = Training(tools, case, tmp_path, resume=resume)
        printed = training.stop(number)
        assert training.process.returncode == status, printed[-3000:]
        assert printed.strip().splitlines()[-1] == f"medkd: stopped by {number.name}"
        assert "Traceback" not in printed
        assert statuses(tmp_path) == ["KILLED"]
        assert not [path for path in tmp_path.rglob(".*") if path.suffix in {".pt", ".sha256"}], "half a file"
        torch.load(tmp_path / "checkpoints" / training.saves()[-1], weights_only=True)
    last = int(training.saves()[-1][6:10])
    done = case.run(["train.yaml"], **{**training.settings, "resume": "true"})
    assert f"Resumed after epoch {last} from" in done.stdout
    assert statuses(tmp_path) == ["FINISHED"]


@pytest.mark.parametrize("case", ["confkd"], indirect=True)
def test_a_training_that_vanished_is_marked_by_the_next(tools: Path, case: Case, tmp_path: Path) -> None:
    training = Training(tools, case, tmp_path)
    training.stop(signal.SIGKILL)
    assert statuses(tmp_path) == ["RUNNING"]
    case.run(["train.yaml"], **{**training.settings, "fresh": "true", "max_epochs": 1})
    assert statuses(tmp_path) == ["KILLED", "FINISHED"]
