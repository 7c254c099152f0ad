"""Files that are damaged in some way are refused in one line, by whatever reads them; or they are still what they were.

Every input has one damage in one place, so there is nothing to shrink: a failure names the input's number, which makes it again.
"""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..conftest import TIMES, Case, Program

INPUTS = 5 + 6 * TIMES  # for each bundle


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def _flip(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 8, 64])):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _blank(content: bytes, chance: random.Random) -> bytes:
    """A block of zeros, as some file systems leave it after a loss of power."""
    start, length = chance.randrange(len(content)), chance.choice([1, 16, 512])
    return content[:start] + bytes(min(length, len(content) - start)) + content[start + length :]


def _other(content: bytes, chance: random.Random) -> bytes:
    """Something else altogether under that name."""
    return chance.choice(
        [b"", b"\n", b"<html>", chance.randbytes(300), b"GIF89a" + content, b"[" * 9000, b"\x80\x04N."]
    )


DAMAGES = (_cut, _flip, _blank, _other)


@dataclass(frozen=True)
class Target:
    """A kind of file, and what reads it: ``command`` of the bundle's copy, the file, and an empty folder."""

    pattern: str  # in the folder of everything that a user has
    command: Callable[[Case, Path, Path, Path], list[str]]


def _check(case: Case, home: Path, file: Path, out: Path) -> list[str]:
    return ["medkd", "data", "check", str(home / "data")]


def _train(case: Case, home: Path, file: Path, out: Path) -> list[str]:
    own = {"dataset_dir": home / "data", "max_epochs": 1, "epoch_length": 1}
    return Case.command(_at(case, home), ["train.yaml"], **case.training(out, **own))


def _resume(case: Case, home: Path, file: Path, out: Path) -> list[str]:
    own = {"dataset_dir": home / "data", "resume": "true"}
    return Case.command(_at(case, home), ["train.yaml"], **case.training(home / "trained", **own))


def _infer(case: Case, home: Path, file: Path, out: Path) -> list[str]:
    student = home / "trained" / "models" / "model.pt"
    images = file if file.parent.name == "images" else next((home / "data" / "images").iterdir())
    own = {"dataset_dir": images, "model_path": student, "output_dir": out}
    return Case.command(_at(case, home), ["inference.yaml"], **own)


def _show(case: Case, home: Path, file: Path, out: Path) -> list[str]:
    return ["medkd", "show", str(_own_bundle(case, home))]


def _deploy(case: Case, home: Path, file: Path, out: Path) -> list[str]:
    return ["medkd", "deploy", str(_own_bundle(case, home)), str(out / "app")]


def _report(case: Case, home: Path, file: Path, out: Path) -> list[str]:
    return [
        "medkd",
        "report",
        str(home / "trained"),
        "--bundle",
        str(case.bundle),
        "--output",
        str(out / "report.html"),
    ]


def _own_bundle(case: Case, home: Path) -> Path:
    shutil.copytree(home / "trained" / "models", home / "bundle" / "models", dirs_exist_ok=True)
    return home / "bundle"


def _at(case: Case, home: Path) -> Case:
    return Case(**{**vars(case), "bundle": home / "bundle"})


TARGETS = (
    Target("data/images/*.*", _check),
    Target("data/images/*.*", _train),
    Target("data/images/*.*", _infer),
    Target("data/labels/*.*", _train),
    Target("data/datalist.json", _check),
    Target("data/datalist.json", _train),
    Target("trained/models/model.pt", _infer),
    Target("trained/models/model.pt", _show),
    Target("trained/models/model.pt", _deploy),
    Target("trained/checkpoints/epoch=*.pt", _resume),
    Target("trained/eval/*.csv", _report),
    # MONAI's own program reads configurations before any of ours runs.
    Target("bundle/configs/train.yaml", _show),
    Target("bundle/configs/inference.yaml", _deploy),
    Target("bundle/configs/metadata.json", _deploy),
)


def _home(case: Case, trained: Path, folder: Path) -> Path:
    """What a user has: data, a training of some epochs, and a working copy of the bundle."""
    shutil.copytree(case.data, folder / "data")
    listed = folder / "data" / "datalist.json"
    listed.write_text(listed.read_text().replace(str(case.data), str(folder / "data")))
    shutil.copytree(trained, folder / "trained")
    skipped = shutil.ignore_patterns("models", "checkpoints", "eval", "data")
    shutil.copytree(case.bundle, folder / "bundle", ignore=skipped)
    return folder


@pytest.fixture(scope="session")
def evaluated(case: Case, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training, and the scores of its student."""
    root = shutil.copytree(trained, tmp_path_factory.mktemp("evaluated") / "root")
    case.train(root, "evaluate.yaml")
    return root


@pytest.mark.timeout(3600)
def test_damaged_files(case: Case, evaluated: Path, program: Program, tmp_path: Path) -> None:
    problems: list[str] = []
    for number in range(INPUTS):
        home = _home(case, evaluated, tmp_path / str(number))
        problems += _one(case, home, number, program)
        shutil.rmtree(home)
    assert not problems, "\n".join(problems)


def _one(case: Case, home: Path, number: int, program: Program) -> list[str]:
    """What is wrong with the answer to one input."""
    chance = random.Random(f"{case.bundle.name} {number}")
    there = [one for one in TARGETS if list(home.glob(one.pattern))]
    assert len(there) >= len(TARGETS) - 1  # tiles have their labels in the datalist
    target, damage = chance.choice(there), chance.choice(DAMAGES)
    files = sorted(home.glob(target.pattern))
    file, out = chance.choice(files), home / "out"
    command = target.command(case, home, file, out)
    file.write_bytes(damage(file.read_bytes(), chance))
    done = program(command, cwd=home / "bundle")
    _, found, said = done.stderr.rpartition("medkd: error: ")
    half = [path for path in home.rglob(".*-*") if path.is_file()]
    right = done.returncode == 0 or (done.returncode == 1 and found and "Traceback" not in said)
    if right and not half:
        return []
    name = f"{number}: {file.relative_to(home)} {damage.__name__[1:]}, {target.command.__name__[1:]}"
    return [f"{name}: exit {done.returncode}, {half} {json.dumps(done.stderr[-700:])}"]
