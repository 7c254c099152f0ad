"""Each bundle with a small dataset and the settings that make a training of it take seconds."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from medkd.bundle.runtimes import exported_path
from medkd.cli import main
from medkd.datasets import make_cardiac_phantoms, make_histology_phantoms, make_polyp_phantoms
from medkd.export import FORMATS

from ..helpers import bundle_command, run_bundle

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Case:
    """A bundle, its data, and how to run it."""

    bundle: Path
    data: Path
    settings: dict[str, Any]  # of train.yaml
    channels: int  # of an image
    traced: bool  # exported by tracing; scripted otherwise
    score_header: str  # of cases.csv
    score_line: str  # a pattern of its lines
    scores: int  # how many there are
    summary: str  # what summary.csv tells apart
    rungs: tuple[str, ...]
    claim: str  # what the ladder's table says of these rungs
    terms: tuple[str, str]  # of the loss, in the last of these rungs
    key_metric: str = "val_mean_dice"

    def files(self, configs: list[str]) -> list[Path]:
        return [self.bundle / "configs" / name for name in configs]  # an absolute name stays as it is

    def training(self, root: Path, **overrides: Any) -> dict[str, Any]:
        """The settings of a training that ends in ``root``."""
        return {"bundle_root": root, "dataset_dir": self.data, **self.settings, **overrides}

    def train(self, root: Path, *extra: str, check: bool = True, **overrides: Any) -> subprocess.CompletedProcess[str]:
        return self.run(["train.yaml", *extra], check=check, **self.training(root, **overrides))

    def run(self, configs: list[str], *, check: bool = True, **overrides: Any) -> subprocess.CompletedProcess[str]:
        return run_bundle(self.files(configs), check=check, **overrides)

    def command(self, configs: list[str], **overrides: Any) -> list[str]:
        """What a user types: for what must be a program of its own."""
        return [sys.executable, *bundle_command(self.files(configs), **overrides)]


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    return {**kept, "OMP_NUM_THREADS": "1", **more}


QUICK = {"max_epochs": 3, "epoch_length": 2, "val_interval": 1, "num_workers": 0, "progress": "false"}


def confkd(root: Path) -> Case:
    make_cardiac_phantoms(root / "data", strong=1, weak=3, validation=3, test=2, size=64, slices=3)
    network = {"network_def#channels": [4, 8, 16, 16]}
    return Case(
        bundle=ROOT / "bundles" / "confkd_cardiac_mri_segmentation",
        data=root / "data",
        settings={**QUICK, **network, "patch_size": [32, 32], "volumes_per_batch": 2},
        channels=1,
        traced=False,
        score_header="case,patient,branch,class,dice,hd95,surface_dice,unit",
        score_line=r".+\.nii\.gz,.+,(student|teacher),.+,mm",
        scores=2 * 2 * 3,  # images x branches x classes
        summary="student",
        rungs=("weak_only", "kl_entropy"),
        claim="kl_entropy − weak_only",
        terms=("train_kl", "train_entropy"),
    )


def kdas(root: Path) -> Case:
    make_polyp_phantoms(root / "data", training=6, validation=3, test=2, size=64)
    case = Case(
        bundle=ROOT / "bundles" / "kdas_polyp_segmentation",
        data=root / "data",
        settings={**QUICK, "image_size": [64, 96], "scales": [1.0, 0.5], "batch_size": 2, "teacher_def#backbone": "b1"},
        channels=3,
        traced=True,
        score_header="case,patient,dataset,branch,class,dice,iou",
        score_line=r"(phantom\d+)\.png,\1,phantoms,student,polyp,[01]\.\d+,[01]\.\d+",
        scores=2,
        summary="phantoms",
        rungs=("teacher", "student_alone", "kdas"),
        claim="kdas − student_alone",
        terms=("train_attention", "train_symmetric"),
    )
    case.train(root / "teacher", "train_teacher.yaml", max_epochs=1)
    case.settings["teacher_path"] = root / "teacher" / "checkpoints" / "teacher.pt"
    return case


def ikdmil(root: Path) -> Case:
    make_histology_phantoms(root / "data", training=8, validation=5, test=4, size=64)
    switch = {"teacher_epochs": 1, "switch_epochs": [1, 2]}
    case = Case(
        bundle=ROOT / "bundles" / "ikdmil_histology_segmentation",
        data=root / "data",
        settings={**QUICK, **switch, "image_size": [64, 48], "batch_size": 4},
        channels=3,
        traced=True,
        score_header="case,location,region,patient,positive,branch,f1,iou,hausdorff,background_f1",
        score_line=r"(phantom\d+)\.png,,\1,\1,[01],(student|all_foreground),([\d.]*,){3}[\d.]*",
        scores=4 * 2,  # tiles x (student, baseline)
        summary="all_foreground",
        rungs=("mil_teacher", "role_switch"),
        claim="role_switch − mil_teacher",
        terms=("train_distillation", "train_wce"),
        key_metric="val_selection",
    )
    case.train(root / "teacher", last_stage=1)
    case.settings["teacher_path"] = root / "teacher" / "checkpoints" / "teacher" / "best.pt"
    return case


def compact(root: Path) -> Case:
    make_cardiac_phantoms(root / "data", strong=1, weak=3, validation=3, test=2, size=64, slices=3)
    networks = {"teacher_def#features": [8, 8, 16, 32, 64, 16]}
    case = Case(
        bundle=ROOT / "bundles" / "compact_segmentation",
        data=root / "data",
        settings={**QUICK, **networks, "patch_size": [32, 32], "images_per_batch": 2},
        channels=1,
        traced=False,
        score_header="case,patient,branch,class,dice,hd95,surface_dice,unit",
        score_line=r".+\.nii\.gz,.+,student,.+,mm",
        scores=2 * 3,  # images x classes
        summary="student",
        rungs=("teacher", "student_alone", "pixel"),
        claim="pixel − student_alone",
        terms=("train_pixel", "train_dice"),
    )
    case.train(root / "teacher", "train_teacher.yaml", max_epochs=1)
    case.settings["teacher_path"] = root / "teacher" / "checkpoints" / "teacher.pt"
    return case


CASES = {"compact": compact, "confkd": confkd, "kdas": kdas, "ikdmil": ikdmil}


@pytest.fixture(scope="session", params=list(CASES))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return CASES[request.param](tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="session")
def trained(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a finished training, tracked with the bundle's own settings: the command line as a user has it."""
    root = tmp_path_factory.mktemp("trained")
    command = case.command(["train.yaml"], **case.training(root, tracking="configs/tracking.yaml"))
    done = subprocess.run(command, cwd=case.bundle, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return root


def with_student(case: Case, trained: Path, folder: Path) -> Path:
    """A copy of the bundle as it is shipped, with a student of other settings."""
    shutil.copytree(case.bundle / "configs", folder / "bundle" / "configs")
    shutil.copytree(trained / "models", folder / "bundle" / "models")
    return folder / "bundle"


@pytest.fixture(scope="session")
def exported(case: Case, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """The student in every format, each by one command: the file, and what the command printed."""
    made, own = {}, with_student(case, trained, tmp_path_factory.mktemp("exported"))
    for form in FORMATS:
        path = exported_path(own / "models" / "model.pt", form)
        command = ["export", str(own), "--format", form, "--images", str(case.data / "images"), "--output", str(path)]
        with contextlib.redirect_stdout(io.StringIO()) as printed, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracers and exporters warn of themselves
            assert main(command) == 0
        made[form] = path, printed.getvalue()
    return made
