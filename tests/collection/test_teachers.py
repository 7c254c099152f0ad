"""``medkd teach`` on workers: the folder is that of one process, whatever happens on the way."""

import json
import pickle
import shutil
from pathlib import Path

import pytest

from medkd.cli import main
from medkd.collection.teachers import TravellingTeacher
from medkd.datasets import load_datalist, make_cardiac_phantoms, with_predictions
from medkd.teaching import load_teacher, teach

from ..teaching.conftest import write_bundle


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("zoo") / "teacher")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("taught") / "data"
    make_cardiac_phantoms(root, strong=1, weak=2, validation=1, test=1, size=48, slices=5)
    return root


def contents(folder: Path) -> dict[str, bytes | list[str]]:
    """Of every file; the rows of the index are in the order in which predictions were done."""
    found: dict[str, bytes | list[str]] = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {**found, "predictions.csv": sorted((folder / "predictions.csv").read_text().splitlines())}


def test_the_folder_is_that_of_one_process(
    teacher: Path, data: Path, scheduler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    teach([load_teacher(teacher, trust=True)], data, alone)
    command = ["teach", str(teacher), str(data), str(shared), "--trust", "--scheduler", scheduler, "--device", "cpu"]
    assert main(command) == 0
    assert "Written:  5 predictions; 0 were there" in capsys.readouterr().out
    assert contents(shared) == contents(alone)
    rows = (shared / "predictions.csv").read_text().splitlines(keepends=True)
    (shared / "predictions.csv").write_text("".join(rows[:-1]) + rows[-1][:20])  # a client that was killed
    assert main(command) == 0
    assert "Written:  1 predictions; 4 were there" in capsys.readouterr().out
    assert contents(shared) == contents(alone)


def test_images_that_a_teacher_refuses_are_all_named_and_the_others_written(
    teacher: Path, data: Path, scheduler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = shutil.copytree(data, tmp_path / "broken")
    first, second = (item["image"] for item in load_datalist(broken, "training")[:2])
    for image in (first, second):
        Path(image).write_bytes(b"no image")
    command = ["teach", str(teacher), str(broken), str(tmp_path / "out"), "--trust", "--scheduler", scheduler]
    assert main([*command, "--retries", "0"]) == 1
    said = capsys.readouterr().err
    assert "out: 2 problem(s)\n" in said
    assert said.count(f"  - {first}") == said.count(f"  - {second}") == 1
    others = [item for section in ("training", "test") for item in load_datalist(broken, section)]
    others = [item for item in others if item["image"] not in (first, second)]
    assert len(with_predictions(others, tmp_path / "out")) == len(others) == 2


def test_a_teacher_that_changed_since_is_refused_and_a_stranger_s_is_not_run(
    teacher: Path, data: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(teacher, tmp_path / "teacher")
    image = load_datalist(data, "test")[0]["image"]
    with pytest.raises(PermissionError, match="--trust"):
        TravellingTeacher.of(copy)
    travelled = pickle.loads(pickle.dumps(TravellingTeacher.of(copy, trust=True, device="cpu")))
    expected = load_teacher(copy, trust=True)
    assert travelled.identity == expected.identity
    assert bool((travelled.predict(image) == expected.predict(image)).all())
    stale = TravellingTeacher.of(copy, trust=True, device="cpu", activation="softmax")
    file = copy / "configs" / "inference.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "more": 1}))
    with pytest.raises(RuntimeError, match="expected the teacher that was there when this began, found another"):
        stale.predict(image)
