"""What networks cost: programs that are watched, what is compared, and the command on a real bundle."""

import argparse
import shutil
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import torch

from medkd.bundle.runtimes import PRECISIONS
from medkd.cli import main
from medkd.cli.runtime import add_runtime
from medkd.datasets import make_polyp_phantoms
from medkd.efficiency import candidates, compare
from medkd.efficiency.picture import pareto
from medkd.efficiency.watch import Watched, watch
from medkd.networks.exported import RUNTIMES

from ..serving.conftest import small_copy

_HOLDS = "import time; held = b'x' * (200 << 20); time.sleep(0.5); print('done')"


def test_memory_and_time_of_a_program_are_its_own() -> None:
    found = watch([sys.executable, "-c", _HOLDS])
    assert found.printed == "done\n"
    assert 200 < found.peak < 260
    assert 0.5 < found.seconds < 30
    assert 200 * 0.4 < found.area(found.seconds) < found.peak * found.seconds


def test_the_area_is_that_under_the_curve_up_to_a_time() -> None:
    found = Watched("", 4.0, [(1.0, 10.0), (2.0, 30.0), (4.0, 20.0)])
    assert found.peak == 30.0
    assert found.area(4.0) == 1 * 10 + 1 * 30 + 2 * 20
    assert found.area(3.0) == 1 * 10 + 1 * 30 + 1 * 20
    assert found.area(2.0) == 1 * 10 + 1 * 30


def test_what_its_children_hold_counts() -> None:
    found = watch([sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_HOLDS!r}])"])
    assert found.peak > 205


def test_a_program_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="found exit 3:\nout of luck"):
        watch([sys.executable, "-c", "import sys; sys.stderr.write('out of luck'); sys.exit(3)"])


def test_nothing_beats_what_is_on_the_line() -> None:
    rows = [("slow", 1.0, 0.9), ("best", 0.5, 0.95), ("fast", 0.1, 0.7), ("bad", 0.2, 0.6), ("also bad", 0.2, 0.7)]
    lines = pd.DataFrame(rows, columns=["network", "warm", "score"])
    assert list(pareto(lines)["network"]) == ["fast", "best"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("efficiency")
    make_polyp_phantoms(folder / "data", training=4, validation=3, test=2, size=64)
    return small_copy("kdas_polyp_segmentation", folder)


def test_what_was_exported_is_compared(bundle: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher.pt"
    torch.save({}, teacher)
    for name in ("model.onnx", "model.int8.onnx", "model.ts"):
        (bundle / "models" / name).touch()
    found = [(one.name, one.runtime, one.precision) for one in candidates([str(bundle), f"{bundle}={teacher}"])]
    name = "kdas_polyp_segmentation"
    ours = [
        ("pytorch", "fp32"),
        ("torchscript", "fp32"),
        *((run, p) for run in ("onnx", "openvino") for p in ("fp32", "int8")),
    ]
    assert found == [*((name, *how) for how in ours), (f"{name} {teacher}", "pytorch", "fp32")]  # fmt: skip
    for name in ("model.onnx", "model.int8.onnx", "model.ts"):
        (bundle / "models" / name).unlink()


def test_two_folders_of_one_name_are_two_networks(bundle: Path, tmp_path: Path) -> None:
    other = shutil.copytree(bundle, tmp_path / bundle.name)
    found = [one.name for one in candidates([str(bundle), str(other), str(bundle)], ["pytorch"])]
    assert found == [str(bundle), str(other)]


def test_what_was_measured_before_a_failure_is_kept(bundle: Path, tmp_path: Path, monkeypatch) -> None:
    data, out = bundle.parent / "data", tmp_path / "out"
    calls: list[str] = []

    def once(one, case, threads, again):
        if calls:
            raise RuntimeError("out of memory")
        calls.append(case)
        return {"seconds": 1.0, "warm": 0.5, "peak": 100.0, "area": 50.0}

    monkeypatch.setattr(sys.modules["medkd.efficiency.compare"], "_measured", once)
    command = ["efficiency", str(bundle), "--images", str(data / "images"), "--output_dir", str(out)]
    assert main(command) == 1
    assert list(pd.read_csv(out / "so_far.csv")["case"]) == [Path(calls[0]).name]
    assert not (out / "measured.csv").exists()


def test_all_that_is_missing_is_told(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"model\.int8\.onnx, \S+none\.int8\.onnx: expected trained weights and"
    ):
        candidates([str(bundle), f"{bundle}={tmp_path / 'none.pt'}"], ["onnx:int8"])
    with pytest.raises(FileNotFoundError, match=r"/none\.pt: expected trained weights"):
        candidates([f"{bundle}={tmp_path / 'none.pt'}"])
    with pytest.raises(ValueError, match=r"expected a runtime \(pytorch, .*got 'tensorrt'"):
        candidates([str(bundle)], ["tensorrt"])


def test_a_number_below_1_is_refused(bundle: Path) -> None:
    given = {"limit": 0, "rounds": -1, "threads": 0}
    with pytest.raises(
        ValueError, match="threads: expected at least 1, got 0; rounds: expected at least 1, got -1; limit"
    ):
        compare(candidates([str(bundle)]), bundle.parent / "data" / "images", **given)


def test_the_command_line_offers_what_there_is() -> None:
    """Its words stand by themselves, for the command starts without PyTorch."""
    parser = argparse.ArgumentParser()
    add_runtime(parser)
    offered = {action.dest: action.choices for action in parser._actions}
    assert offered["runtime"] == ["pytorch", *RUNTIMES]
    assert offered["precision"] == list(PRECISIONS)


@pytest.mark.filterwarnings("ignore")
def test_the_command_measures_in_processes_of_their_own(bundle: Path, tmp_path: Path, capsys) -> None:
    data, store = bundle.parent / "data", f"sqlite:///{tmp_path / 'mlruns.db'}"
    assert main(["export", str(bundle), "--format", "onnx", "--images", str(data / "images")]) == 0
    where = ["--images", str(data / "images"), "--dataset_dir", str(data), "--output_dir", str(tmp_path / "out")]
    how = ["--limit", "1", "--tracking_uri", store, "--runtimes", "pytorch", "onnx"]
    assert main(["efficiency", str(bundle), *where, *how]) == 0
    measured = pd.read_csv(tmp_path / "out" / "measured.csv")
    again = ["efficiency", str(bundle), *where, *how]
    kept = (tmp_path / "out" / "measured.csv").read_bytes()
    assert main(again) == 1  # which would have replaced it
    assert (tmp_path / "out" / "measured.csv").read_bytes() == kept
    assert list(measured["runtime"]) == ["pytorch", "onnx"]
    assert (measured["seconds"] > measured["warm"]).all()
    assert (measured["peak"] > 100).all()
    network = 3_650_740  # parameters of the student on PVTv2-B0, as docs/methods/kdas.md has them
    assert set(measured["parameters"]) == {network}
    assert measured["score"][1] == pytest.approx(measured["score"][0], abs=1e-3)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"measured.csv", "table.md", "pareto.png"}
    assert (tmp_path / "out" / "table.md").read_text() in capsys.readouterr().out
    assert mlflow.get_tracking_uri() != store  # where others are tracked is left as it was
    client = mlflow.MlflowClient(store)
    runs = client.search_runs([client.get_experiment_by_name("efficiency").experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert {artifact.path for artifact in client.list_artifacts(parent.info.run_id)} >= {"measured.csv", "table.md"}
    assert {run.info.status for run in runs} == {"FINISHED"}
    logged = {run.data.params["runtime"]: run.data.metrics["warm"] for run in runs if "runtime" in run.data.params}
    assert logged == pytest.approx(dict(zip(measured["runtime"], measured["warm"], strict=True)))
