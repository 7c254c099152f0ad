"""From annotated slides to a scored student, without a tile image being written."""

import json
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import tifffile
import torch

from medkd.datasets.camelyon16 import prepare_camelyon16
from medkd.slides import make_slide, write_annotation

from ..helpers import run_bundle

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "ikdmil_histology_segmentation"
SLIDES = ["training/normal/normal_001", "training/normal/normal_002", "training/tumor/tumor_001"]
SLIDES += ["training/tumor/tumor_002", "testing/images/test_001"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Five slides of 500 × 600; those with tumour have a ring of it."""
    folder = tmp_path_factory.mktemp("camelyon16")
    for name in SLIDES:
        made = make_slide(folder / "slides" / f"{name}.tif", (500, 600))
        if "normal" not in name:
            annotation = folder / "annotations" / f"{Path(name).name}.xml"
            annotation.parent.mkdir(exist_ok=True)
            write_annotation(annotation, {"_0": made.polygons()["Tumor"], "_2": made.polygons()["Exclusion"]})
    options = {"tile_size": 64, "validation": 0.5, "positive_fraction": 0.5, "tiles_per_slide": 6}
    prepare_camelyon16(folder / "slides", folder / "annotations", folder / "data", **options)
    return folder / "data"


TRACKING = BUNDLE / "configs" / "tracking.yaml"


def run(configs, data, root, **settings):
    settings = {"bundle_root": root, "dataset_dir": data, "image_size": [32, 32], "num_workers": 0, **settings}
    run_bundle([BUNDLE / "configs" / name for name in configs], **settings)


def test_a_student_is_trained_and_scored_on_places_in_slides(data, tmp_path):
    quick = {"teacher_epochs": 1, "max_epochs": 2, "epoch_length": 2, "batch_size": 4, "val_interval": 1}
    run(["train.yaml"], data, tmp_path, switch_epochs=[1], progress="false", tracking=TRACKING, **quick)
    kept = torch.load(tmp_path / "models" / "model.pt", weights_only=True)["settings"]
    assert (kept["mpp"], kept["downsample"]) == (1.0, None)  # slides of half a micron, tiles shrunk to a half
    run(["train.yaml", "evaluate.yaml"], data, tmp_path)
    cases = pd.read_csv(tmp_path / "eval" / "cases.csv")
    student = cases[cases["branch"] == "student"]
    assert student["case"].str.contains("test_001").all()
    assert student["location"].nunique() == len(student) > 6
    assert student.loc[student["positive"] == 1, "f1"].notna().all()
    assert student.loc[student["positive"] == 0, "background_f1"].notna().all()
    assert pd.read_csv(tmp_path / "eval" / "regions.csv")["pxap"].between(0, 1).all()
    assert sorted(path.name for path in data.iterdir()) == ["datalist.json"]
    slide = data.parent / "slides" / "testing" / "images" / "test_001.tif"
    run_bundle(
        [BUNDLE / "configs" / "slides.yaml"], bundle_root=tmp_path, dataset_dir=slide, output_dir=tmp_path / "out",
        tile_size=64, halo=16, num_workers=0, map_downsample=4,
    )  # fmt: skip
    with tifffile.TiffFile(tmp_path / "out" / "test_001_probability.ome.tif") as map_:
        assert map_.pages[0].shape == (63, 75)  # of 500 × 600: half the size by the student's scale, and a quarter
    contours = json.loads((tmp_path / "out" / "test_001_contours.geojson").read_text())
    assert contours["features"]  # at the student's own threshold, on a slide with tumour
    store = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'eval' / 'mlruns.db'}")
    (tracked,) = store.search_runs([e.experiment_id for e in store.search_experiments()])
    for name, steps in (("teacher_learning_rate", [1]), ("learning_rate", [1, 2])):  # both stages are one run
        assert [metric.step for metric in store.get_metric_history(tracked.info.run_id, name)] == steps
