"""A disk that is full, or that can be read alone: said in one line, and the training goes on when there is space."""

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..conftest import TIMES, Case, Program
from ..test_resume import identical


def _mount(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of a small disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not shutil.which("mount") or not _mount(folder, "size=256m"):
        pytest.skip("no right to mount a small disk here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _train(program: Program, case: Case, root: Path, **overrides: Any) -> subprocess.CompletedProcess[str]:
    settings = case.training(root, tracking="configs/tracking.yaml", **overrides)
    return program(case.command(["train.yaml"], **settings), cwd=case.bundle)


def _line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stderr
    _, found, line = done.stderr.rpartition("medkd: error: ")
    assert found, done.stderr
    return line


@pytest.mark.parametrize("case", ["confkd", "ikdmil"], indirect=True)
def test_a_full_disk(case: Case, trained: Path, program: Program, disk: Path) -> None:
    needed = sum(path.stat().st_size for path in trained.rglob("*") if path.is_file())
    chance = random.Random(case.bundle.name)
    for part in sorted(chance.uniform(0.3, 0.95) for _ in range(TIMES)):  # no disk gets smaller than what is on it
        assert _mount(disk, f"remount,size={int(needed * part)}")
        line = _line(_train(program, case, disk, resume="true"))
        assert "No space left on device" in line or "disk is full" in line
        assert not [path for path in disk.rglob(".*-*") if path.is_file()]
    assert _mount(disk, "remount,size=256m")
    done = _train(program, case, disk, resume="true")
    assert done.returncode == 0, done.stderr
    assert identical(trained, disk)


@pytest.mark.parametrize("case", ["confkd"], indirect=True)
def test_a_disk_that_can_be_read_alone(case: Case, trained: Path, program: Program, disk: Path) -> None:
    root = shutil.copytree(trained, disk / "root")
    assert _mount(disk, "remount,ro")
    for how in ({"resume": "true"}, {"fresh": "true"}):
        done = _train(
            program, case, root, **how
        )  # MONAI writes its copy of the configuration before anything of ours runs
        assert done.returncode == 1
        assert "Read-only file system: " in done.stderr.strip().splitlines()[-1]
    assert identical(trained, root)
