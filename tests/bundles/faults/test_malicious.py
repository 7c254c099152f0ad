"""A pickle that would run a program, in place of each file of PyTorch's that may come from elsewhere: refused before it runs."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from medkd.files import sha256

from ..conftest import Case, Program
from .test_fuzz import _at, _deploy, _home, _infer, _own_bundle, _resume, _show

STUDENT = "trained/models/model.pt"


class Malicious:
    """Makes a folder when it is read by anything that runs pickles."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.mark,)


def _zip(content: Any, path: Path) -> None:
    torch.save(content, path)


def _legacy(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def _bare(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def _teach(case: Case, home: Path, file: Path, out: Path) -> list[str]:
    return ["medkd", "teach", str(_own_bundle(case, home)), str(home / "data"), str(out / "taught")]


def _export(case: Case, home: Path, file: Path, out: Path) -> list[str]:
    return ["medkd", "export", str(_own_bundle(case, home)), "--format", "torchscript"]


def _freeze(case: Case, home: Path, file: Path, out: Path) -> list[str]:
    return ["medkd", "freeze", str(_own_bundle(case, home))]


def _taught(case: Case, home: Path, file: Path, out: Path) -> list[str]:
    return _training(case, home, out, teacher_path=file)


def _official(case: Case, home: Path, file: Path, out: Path) -> list[str]:
    return _training(case, home, out, **{"network_def#pretrained": file})


def _training(case: Case, home: Path, out: Path, **own: Any) -> list[str]:
    return _at(case, home).command(["train.yaml"], **case.training(out, dataset_dir=home / "data", **own))


READERS = [(STUDENT, command) for command in (_infer, _show, _deploy, _teach, _export, _freeze)]
READERS += [("trained/checkpoints/epoch=*.pt", _resume), ("teacher.pt", _taught), ("pvt_v2_b0.pth", _official)]


@pytest.mark.parametrize("case", ["kdas"], indirect=True)  # whose teacher and official weights are files as well
@pytest.mark.parametrize("write", [_zip, _legacy, _bare])
def test_pickles_are_refused_before_they_run(
    case: Case, trained: Path, program: Program, tmp_path: Path, write: Callable[[Any, Path], None]
) -> None:
    problems = []
    for number, (place, command) in enumerate(READERS):
        home = _home(case, trained, tmp_path / str(number))
        files, mark, out = sorted(home.glob(place)) or [home / place], home / "mark", home / "out"
        for file in files:
            write({"model": Malicious(mark), "state_dict": Malicious(mark)}, file)
            file.with_name(f"{file.name}.sha256").write_text(sha256(file) + "\n")
        done = program(command(case, home, files[-1], out), cwd=home / "bundle")
        _, found, said = done.stderr.rpartition("medkd: error: ")
        named = found and files[-1].name in said and "Traceback" not in said
        if mark.exists() or done.returncode != 1 or not named:
            problems.append(f"{command.__name__}: ran {mark.exists()}, exit {done.returncode}, {done.stderr[-500:]}")
        shutil.rmtree(home)
    assert not problems, "\n".join(problems)
    Malicious(tmp_path / "mark")  # and the pickle is one that does what it says
    pickle.loads(pickle.dumps(Malicious(tmp_path / "mark")))
    assert (tmp_path / "mark").is_dir()
