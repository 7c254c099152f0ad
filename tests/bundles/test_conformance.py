"""What MONAI demands of every bundle, and what medkd promises of its own; one suite for all bundles."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out

from medkd.datasets import load_datalist

from ..cases import ROOT, Case
from .conftest import environment

SCHEMA = Path(__file__).parents[1] / "reference" / "meta_schema_20240725.json"


def _small(case: Case, tmp_path: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(case.bundle / "configs" / "train.yaml")])
    return parser


def test_metadata_is_valid(case: Case, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    shutil.copy(SCHEMA, schema)
    verify_metadata(meta_file=str(case.bundle / "configs" / "metadata.json"), filepath=str(schema))


def test_metadata_names_its_version_in_the_changelog(case: Case) -> None:
    meta = json.loads((case.bundle / "configs" / "metadata.json").read_text())
    assert meta["version"] in meta["changelog"]


@pytest.mark.parametrize("config", ["train.yaml", "inference.yaml"])
def test_network_takes_and_gives_what_the_metadata_says(case: Case, config: str) -> None:
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(case.bundle / "configs" / "metadata.json"),
        config_file=str(case.bundle / "configs" / config),
        n=1,
        any=32,
        device="cpu",
    )


@pytest.mark.parametrize(("config", "kind"), [("train.yaml", "train"), ("inference.yaml", "infer")])
def test_properties_are_complete(case: Case, trained: Path, tmp_path: Path, config: str, kind: str) -> None:
    data = case.data if kind == "train" else case.data / "images"
    workflow = ConfigWorkflow(
        config_file=str(case.bundle / "configs" / config),
        workflow_type=kind,
        logging_file=False,
        bundle_root=str(tmp_path),
        dataset_dir=str(data),
        **(case.settings if kind == "train" else {}),
    )
    workflow.initialize()
    assert workflow.check_properties() == []


def test_checkpoint_exports_to_torchscript(case: Case, tmp_path: Path) -> None:
    parser = ConfigParser()
    parser.read_config(str(case.bundle / "configs" / "inference.yaml"))
    network = parser.get_parsed_content("network_def")
    torch.save({"model": network.state_dict()}, tmp_path / "model.pt")
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file=str(case.bundle / "configs" / "metadata.json"),
        config_file=str(case.bundle / "configs" / "inference.yaml"),
        key_in_ckpt="model",
        use_trace=case.traced,
        input_shape=[1, case.channels, 64, 64],
    )
    image = torch.rand(1, case.channels, 64, 64)
    exported = torch.jit.load(str(tmp_path / "model.ts"))
    with torch.no_grad():
        torch.testing.assert_close(exported(image), network.eval()(image))


def test_handlers_are_literal_lists(case: Case) -> None:
    """MONAI Label and ``--tracking`` insert into them."""
    parser = _small(case, Path())
    for key in ("train#handlers", "validate#handlers"):
        assert all(isinstance(handler, dict) and isinstance(handler["_target_"], str) for handler in parser[key])


def test_train_config_stays_short(case: Case) -> None:
    assert len((case.bundle / "configs" / "train.yaml").read_text().splitlines()) <= 200


def test_bundle_has_its_documents(case: Case) -> None:
    for name in ("LICENSE", "docs/README.md", "docs/data_license.txt", "configs/logging.conf"):
        assert (case.bundle / name).stat().st_size > 0


def test_bundle_holds_configuration_only(case: Case) -> None:
    assert not list(case.bundle.rglob("*.py"))


def test_training_writes_the_student(case: Case, trained: Path) -> None:
    content = torch.load(trained / "models" / "model.pt", weights_only=True)
    assert list(content) == ["model", "settings", "run", "epoch"]
    assert [path.name for path in (trained / "models").iterdir()] == ["model.pt"]
    saves = sorted(path.name for path in (trained / "checkpoints").glob("epoch=*.pt"))
    assert saves == ["epoch=0002.pt", "epoch=0003.pt"]


def _only_run(root: Path) -> tuple[mlflow.MlflowClient, mlflow.entities.Run]:
    client = mlflow.MlflowClient(f"sqlite:///{root / 'eval' / 'mlruns.db'}")
    experiment = next(e for e in client.search_experiments() if e.name != "Default")
    (run,) = client.search_runs(experiment.experiment_id)
    assert run.info.status == "FINISHED"
    return client, run


def test_run_is_tracked(case: Case, trained: Path) -> None:
    client, run = _only_run(trained)
    assert run.data.params["max_epochs"] == "3"
    assert {"method", "variant", "seed", "device", "git_commit", "version.medkd"} <= run.data.tags.keys()
    key = case.key_metric.removeprefix("val_")
    assert {"train/loss", "learning_rate", f"val/{key}", f"kept/{key}", "kept/epoch"} <= run.data.metrics.keys()
    assert not [name for name in run.data.metrics if name.startswith(("train_", "val_"))]
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 3
    values = {point.step: point.value for point in client.get_metric_history(run.info.run_id, f"val/{key}")}
    best = max(values, key=lambda epoch: (values[epoch], -epoch))
    assert (run.data.metrics["kept/epoch"], run.data.metrics[f"kept/{key}"]) == (best, values[best])
    pictures = client.list_artifacts(run.info.run_id, "overlays")
    assert len(pictures) == 3
    assert [item.path for item in client.list_artifacts(run.info.run_id) if item.path.endswith(".json")] == [
        "train.json"
    ]
    # What tells runs apart, as it was used: no expressions, and nothing of how the bundle is put together.
    assert not [value for value in run.data.params.values() if value[:1] in ("$", "@", "%")]
    assert run.data.params["seed"] == "0"
    assert not [name for name in run.data.params if name.startswith(("train.", "validate."))]


def test_monai_s_own_tracking_works(case: Case, tmp_path: Path) -> None:
    case.train(tmp_path, tracking="mlflow", max_epochs=1)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'eval' / 'mlruns.db'}")
    runs = [run for e in client.search_experiments() for run in client.search_runs(e.experiment_id)]
    assert len(runs) == 1
    assert "train_loss" in runs[0].data.metrics


def test_an_evaluation_goes_on_with_the_run_of_its_student(case: Case, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    _, before = _only_run(tmp_path)
    for _ in range(2):
        case.train(tmp_path, "evaluate.yaml", tracking="configs/tracking.yaml")
        client, run = _only_run(tmp_path)
        assert run.data.params == before.data.params
        kept = {name: value for name, value in run.data.metrics.items() if not name.startswith("test/")}
        assert kept == before.data.metrics
        assert f"test/{case.key_metric.removeprefix('val_')}" in run.data.metrics
        scored = {artifact.path for artifact in client.list_artifacts(run.info.run_id, "test")}
        assert {f"test/{path.name}" for path in (tmp_path / "eval").glob("*.csv")} == scored >= {"test/cases.csv"}
        pictures = [Path(picture.path).name for picture in client.list_artifacts(run.info.run_id, "overlays")]
        assert pictures == ["epoch_0001.png", "epoch_0002.png", "epoch_0003.png", "test.png"]


def test_evaluation_scores_every_test_image(case: Case, trained: Path) -> None:
    case.train(trained, "evaluate.yaml")
    lines = (trained / "eval" / "cases.csv").read_text().splitlines()
    assert lines[0] == case.score_header
    assert len(lines) == 1 + case.scores
    assert all(re.fullmatch(case.score_line, line) for line in lines[1:]), lines
    assert case.summary in (trained / "eval" / "summary.csv").read_text()


def test_metadata_names_the_versions_that_were_tested(case: Case) -> None:
    meta = json.loads((case.bundle / "configs" / "metadata.json").read_text())
    pins = dict(line.lower().split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    named = {name: meta[f"{name}_version"] for name in ("monai", "numpy")} | meta["required_packages_version"]
    assert pins["torch"] == meta["pytorch_version"]
    assert {name: pins[name] for name in named if name != "medkd"} == {n: v for n, v in named.items() if n != "medkd"}


def test_unknown_key_is_refused(case: Case, tmp_path: Path) -> None:
    done = case.run(["train.yaml"], check=False, bundle_root=tmp_path, dataset_dir=case.data, max_epoch=1)
    assert done.returncode
    assert "unknown key 'max_epoch', did you mean 'max_epochs'?" in done.stderr


def test_missing_dataset_is_refused(case: Case, tmp_path: Path) -> None:
    done = case.run(["train.yaml"], check=False, bundle_root=tmp_path, dataset_dir=tmp_path / "nowhere")
    assert done.returncode
    assert "no datalist there" in done.stderr
    assert str(tmp_path / "nowhere") in done.stderr


_SAY_METRICS = "$print('METRICS', {k: float(v) for k, v in @validate#evaluator.state.metrics.items()})"


def _metrics(said: str) -> list[dict[str, float]]:
    return [ast.literal_eval(line.split("METRICS ")[1]) for line in said.splitlines() if "METRICS " in line]


def test_a_datalist_without_validation_trains_and_keeps_the_last_student(case: Case, tmp_path: Path) -> None:
    datalist = load_datalist(case.data)  # of absolute paths
    (tmp_path / "datalist.json").write_text(json.dumps({**datalist, "validation": []}))
    case.train(tmp_path, dataset_dir=tmp_path, max_epochs=1)
    assert (tmp_path / "models" / "model.pt").is_file()


def test_two_processes_train_together_and_validate_as_one_does(case: Case, tools: Path, tmp_path: Path) -> None:
    """The validation images do not divide: each must be counted, and once."""
    end = {"finalize": [_SAY_METRICS, "$medkd.distributed.stop()"]}
    (tmp_path / "end.yaml").write_text(json.dumps(end))
    files = ["train.yaml", "multi_gpu_train.yaml", str(tmp_path / "end.yaml")]
    command = case.command(files, **case.training(tmp_path, max_epochs=1))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *command[1:]]
    own = environment(PYTHON_EXEC=str(tools / "python"))
    done = subprocess.run(torchrun, cwd=case.bundle, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert len(list((tmp_path / "checkpoints").glob("epoch=*.pt"))) == 1
    again = ["$medkd.networks.load_model(@model_path, @network)", "$@validate#evaluator.run()"]
    (tmp_path / "one.yaml").write_text(json.dumps({**end, "run": again, "finalize": [_SAY_METRICS]}))
    (alone,) = _metrics(case.train(tmp_path, str(tmp_path / "one.yaml"), max_epochs=1).stdout)
    assert case.key_metric in alone
    assert [pytest.approx(alone, abs=1e-6)] * 2 == _metrics(done.stdout)


def test_two_processes_train_on_the_batch_of_one(case: Case) -> None:
    """Its images and all their random changes, whether those are of single images or of whole batches."""

    def images(size: int, **process: int) -> torch.Tensor:
        parser = _small(case, Path())
        for key, value in case.training(Path(), num_workers=0).items():
            parser[key] = str(value) if isinstance(value, Path) else value
        train = parser["train"]
        loader = train["dataloader"].get("loader", train["dataloader"])  # KDAS's is in one of several scales
        loader.update(batch_size=size, epoch_length=1, **process)
        batch = next(iter(parser.get_parsed_content("train#dataloader")))
        augment = parser.get_parsed_content("train#augmentation") if "augmentation" in train else dict
        return augment(batch)["image"].as_subclass(torch.Tensor)

    one = images(8, num_replicas=1, rank=0)
    two = torch.cat([images(4, num_replicas=2, rank=rank) for rank in (0, 1)])
    apart = (one.flatten(1)[:, None] - two.flatten(1)).abs().amax(-1)  # of each image of one from each of two
    assert sorted(apart.argmin(1).tolist()) == list(range(len(one)))
    assert apart.amin(1).max() < 1e-5
