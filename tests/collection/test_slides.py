"""``medkd collection`` on slides: what MONAI's own command writes, whatever happens on the way."""

import os
import re
import shutil
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from medkd.cli import main
from medkd.collection import open_cluster, run_collection
from medkd.collection.slides import check_slides, make_maps
from medkd.slides import make_slide
from medkd.slides.pyramid import read_settings

from ..helpers import run_bundle
from .conftest import SETTINGS

SET = ["--set", *(f"{key}={value}" for key, value in SETTINGS.items())]


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for number, name in enumerate("acd"):
        make_slide(folder / f"{name}.tif", (400 + 80 * number, 500))
    return folder


@pytest.fixture(scope="module")
def expected(bundle: Path, slides: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By MONAI's command, without Dask."""
    output = tmp_path_factory.mktemp("expected")
    places = {"bundle_root": bundle, "dataset_dir": slides, "output_dir": output}
    run_bundle([bundle / "configs" / "slides.yaml"], **places, **SETTINGS, num_workers=0)
    assert len(list(output.iterdir())) == 3 * 3
    return output


def same(found: Path, expected: Path) -> bool:
    """No file more or less, and none that differs."""
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in (found, expected)]
    return contents[0] == contents[1]


def told(printed: str) -> list[int]:
    return [int(number) for number in re.findall(r"Written: +(\d+); (\d+) were there; (\d+) failed", printed)[-1]]


def test_a_broken_slide_is_told_and_the_others_are_those_of_the_command_without_dask(
    bundle: Path, slides: Path, expected: Path, scheduler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = shutil.copytree(slides, tmp_path / "slides"), tmp_path / "out"
    (source / "b.tif").write_bytes((source / "a.tif").read_bytes()[:2000])
    assert main(["collection", str(bundle), str(source), str(out), "--workers", "2", *SET]) == 1
    printed = capsys.readouterr()
    assert told(printed.out) == [3, 0, 1]
    assert re.search(r"slides: 1 problem\(s\)\n  - \S+/b\.tif: .*\n\Z", printed.err)
    assert same(out, expected)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    (source / "b.tif").unlink()
    assert main(["collection", str(bundle), str(source), str(out), "--scheduler", scheduler, *SET]) == 0
    assert told(capsys.readouterr().out) == [0, 3, 0]
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_other_settings_do_not_mix_with_what_is_there(
    bundle: Path, slides: Path, expected: Path, scheduler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(expected, tmp_path / "out")
    command = ["collection", str(bundle), str(slides), str(out), "--scheduler", scheduler, *SET, "smoothing=2"]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert told(printed.out) == [0, 0, 3]
    assert printed.err.count("xpected smoothing 2.0, found 3.0") == 3
    assert same(out, expected)


def test_what_no_slide_could_be_run_with_is_told_before_anything_is_begun(
    bundle: Path, slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["collection", str(bundle), str(slides), str(tmp_path / "out")]
    for arguments, message in {
        ("--set", "tile_siez=3"): "unknown key 'tile_siez', did you mean 'tile_size'",
        ("--set", "tissue=maybe"): "expected true or false, found 'maybe'",
        ("--set", "tissue"): "--set: expected KEY=VALUE, got tissue",
        (*SET, f"model_path={tmp_path / 'none.pt'}"): "none.pt: expected a trained model, found nothing there",
        ("--runtime", "onnx"): "model.onnx: expected the exported student, found nothing there",
        ("--workers", "0"): "workers: expected at least 1, got 0",
    }.items():
        assert main([*command, *arguments]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_student_says_what_it_was_trained_with(bundle: Path, slides: Path, tmp_path: Path) -> None:
    student = torch.load(bundle / "models" / "model.pt", weights_only=True)
    torch.save({**student, "settings": {"downsample": 2, "tile_size": 3, "mean": [0, 0, 0]}}, tmp_path / "model.pt")
    settings = {**SETTINGS, "model_path": str(tmp_path / "model.pt")}
    with pytest.raises(ValueError, match=r"--mean: expected \[0, 0, 0\], with which"):
        check_slides(str(bundle), {**settings, "mean": [1, 1, 1]})
    settings.pop("downsample")
    make_maps(str(slides / "a.tif"), bundle=str(bundle), output=str(tmp_path), settings=settings)
    found = read_settings(tmp_path / "a_probability.ome.tif")
    assert (found["downsample"], found["tile_size"]) == (2, SETTINGS["tile_size"])


def test_a_worker_that_is_killed_within_a_slide_loses_no_tile(bundle: Path, scheduler: str, tmp_path: Path) -> None:
    slide, outputs = tmp_path / "large.tif", [tmp_path / "expected", tmp_path / "killed"]
    make_slide(slide, (2000, 2000))
    settings = {"bundle": str(bundle), "settings": {**SETTINGS, "batch_size": 1}}
    make_maps(str(slide), output=str(outputs[0]), **settings)
    journal = outputs[1] / ".large.partial" / "journal"
    sizes = []

    def kill(pid: int) -> None:
        while not (journal.is_file() and journal.stat().st_size >= 8 * 10):
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)
        sizes.append(journal.stat().st_size)

    with open_cluster(scheduler) as client:
        (pid,) = client.run(os.getpid).values()
        killer = threading.Thread(target=kill, args=(pid,))
        killer.start()
        function = partial(make_maps, output=str(outputs[1]), **settings)
        assert list(run_collection(function, [("large", str(slide))], client=client, source=slide)) == [("large", True)]
        killer.join()
    assert same(outputs[1], outputs[0])
    assert sizes[0] < 8 * 100  # it was not at its end
