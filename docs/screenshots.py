"""The picture of MLflow's pages, which ``python docs/pictures.py mlflow`` takes: it trains a ladder and opens its list of runs.

Needs chromium and the extra ``test``, and minutes. The words that are to be read in the picture are kept in it, so that a test
can tell when it no longer shows what users see.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from medkd.datasets import make_cardiac_phantoms

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # for what the tests do in the same pages

from tests.mlflow_pages import browser_tab, list_runs, listed, served, widen  # noqa: E402 - found there

# As short as a ladder can be whose order shows.
_SETTINGS = ["max_epochs=4", "epoch_length=12", "val_interval=2", "num_workers=0", "learning_rate=0.005"]
_SETTINGS += ["volumes_per_batch=2", "network_def#channels=[8, 16, 32, 32]", "patch_size=[48, 48]"]


def train(folder: Path) -> str:
    """Two rungs with two seeds on phantoms; what the ladder prints."""
    make_cardiac_phantoms(folder / "phantoms", strong=2, weak=6, validation=2, test=4, size=48, slices=2)
    bundle = ROOT / "bundles" / "confkd_cardiac_mri_segmentation"
    command = [sys.executable, "-m", "medkd.cli", "ladder", str(bundle), "--dataset_dir", str(folder / "phantoms")]
    command += ["--output_dir", str(folder / "ladder"), "--rungs", "weak_only", "kl_entropy", "--seeds", "0", "1"]
    return subprocess.run([*command, "--set", *_SETTINGS], check=True, stdout=subprocess.PIPE, text=True).stdout


def take(printed: str, path: Path) -> None:
    """The list of runs, with the ladder opened and its scores of test and validation side by side."""
    with served(printed) as page, browser_tab(1400, 480) as (tab, _):
        list_runs(tab, page, columns=["test/mean_dice", "val/mean_dice"], without=["Dataset", "Source", "Models"])
        for column in ("val/mean_dice", "test/mean_dice", "Run Name"):
            widen(tab, column)
        words = PngInfo()
        words.add_text("listed", json.dumps(listed(tab)))
        shown = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
    shown.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True, pnginfo=words)


def mlflow() -> None:
    """``docs/images/mlflow.png``."""
    with TemporaryDirectory() as folder:
        take(train(Path(folder)), ROOT / "docs" / "images" / "mlflow.png")
