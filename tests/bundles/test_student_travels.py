"""A student of other classes, spacing, patches and network than the bundle's: whatever applies it needs no telling."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from pydicom import dcmread

from medkd.bundle import bundle_path
from medkd.cli import main
from medkd.networks import DualBranchUNet, load_model
from medkd.serving import deploy

from ..dicom.conftest import datasets, volume, write
from ..helpers import run_bundle
from ..travelling import NAMES, otherwise_trained
from .conftest import Case

CODES = ["87878005", "49848007", "53085002"]


@pytest.fixture(scope="module", params=[2, 3], ids=["2D", "3D"])
def heart(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return otherwise_trained(tmp_path_factory.mktemp("travels"), request.param)


def _inferred(heart: Path, study: Path, out: Path, **more: object) -> nib.Nifti1Image:
    run_bundle([heart / "configs" / "inference.yaml"], dataset_dir=study, output_dir=out, **more)
    (path,) = out.glob("*.nii.gz")
    return nib.load(path)


def test_the_masks_are_those_of_the_training_s_settings(heart: Path, tmp_path: Path) -> None:
    """Against the settings given by hand to weights that do not know them; the defaults would make another mask."""
    study = next((heart.parent / "data" / "images").iterdir())
    found = _inferred(heart, study, tmp_path / "own")
    content = torch.load(heart / "models" / "model.pt", weights_only=True)
    settings = content.pop("settings")
    torch.save(content, tmp_path / "bare.pt")
    assert settings["class_names"] == NAMES
    named = {f"network_def#{key}": settings["network_def"][key] for key in ("spatial_dims", "channels")}
    given = {key: settings[key] for key in ("patch_size", "pixdim", "spatial_dims")}
    expected = _inferred(heart, study, tmp_path / "given", model_path=tmp_path / "bare.pt", **named, **given)
    assert np.array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
    del given["pixdim"]
    other = _inferred(heart, study, tmp_path / "other", model_path=tmp_path / "bare.pt", **named, **given)
    assert not np.array_equal(np.asarray(found.dataobj), np.asarray(other.dataobj))
    assert found.shape == nib.load(study).shape
    np.testing.assert_allclose(found.affine, nib.load(study).affine, atol=1e-4)


def test_the_network_is_the_trained_one(heart: Path) -> None:
    content = torch.load(heart / "models" / "model.pt", weights_only=True)
    dims = content["settings"]["spatial_dims"]
    assert content["settings"]["network_def"]["channels"] == [4, 8, 16, 24]
    load_model(heart / "models" / "model.pt", DualBranchUNet(dims, 1, 4, [4, 8, 16, 24]))


def test_evaluation_names_the_classes(heart: Path, tmp_path: Path) -> None:
    files = [heart / "configs" / name for name in ("train.yaml", "evaluate.yaml")]
    run_bundle(files, dataset_dir=heart.parent / "data", output_dir=tmp_path, num_workers=0, progress="false")
    lines = (tmp_path / "cases.csv").read_text().splitlines()
    assert {line.split(",")[3] for line in lines[1:]} == set(NAMES)


def test_a_dicom_segmentation_bears_the_names_and_codes(heart: Path, tmp_path: Path) -> None:
    """Weights are changed so that every class occurs: three epochs teach no student to find them."""
    bundle = shutil.copytree(heart, tmp_path / "heart")
    model = bundle / "models" / "model.pt"
    content = torch.load(model, weights_only=True)
    for name, value in content["model"].items():
        if value.is_floating_point() and name.endswith("weight"):
            value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(4)))
    torch.save(content, model)
    write(tmp_path / "series", datasets(volume()))
    assert main(["infer", str(bundle), str(tmp_path / "series"), "--output", str(tmp_path / "seg.dcm")]) == 0
    mask = np.asarray(_inferred(bundle, tmp_path / "series", tmp_path / "own").dataobj)
    there = [value for value in (1, 2, 3) if (mask == value).any()]
    assert len(there) > 1
    segments = {int(s.SegmentNumber): s for s in dcmread(tmp_path / "seg.dcm").SegmentSequence}
    for segment in segments.values():
        value = NAMES.index(segment.SegmentLabel) + 1
        assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == CODES[value - 1]
    assert {s.SegmentLabel for s in segments.values()} >= {NAMES[value - 1] for value in there}


@pytest.mark.filterwarnings("ignore")
def test_export_takes_the_trained_network(heart: Path, tmp_path: Path) -> None:
    images = heart.parent / "data" / "images"
    command = ["export", str(heart), "--format", "torchscript", "--images", str(images)]
    assert main([*command, "--output", str(tmp_path / "model.ts")]) == 0
    extra = {"metadata.json": ""}
    torch.jit.load(tmp_path / "model.ts", _extra_files=extra)
    channels = json.loads(extra["metadata.json"])["network_data_format"]["outputs"]["pred"]["channel_def"]
    assert list(channels.values()) == ["background", *NAMES]


def test_a_deployed_bundle_says_it_all_in_its_files(heart: Path, tmp_path: Path) -> None:
    version = deploy(heart, tmp_path / "app").version
    metadata = json.loads((version / "configs" / "metadata.json").read_text())
    assert list(metadata["network_data_format"]["outputs"]["pred"]["channel_def"].values()) == ["background", *NAMES]
    study = next((heart.parent / "data" / "images").iterdir())
    content = torch.load(version / "models" / "model.pt", weights_only=True)
    torch.save({"model": content["model"]}, version / "models" / "model.pt")  # a server does not read the rest
    served = _inferred(version, study, tmp_path / "served")
    assert np.array_equal(np.asarray(served.dataobj), np.asarray(_inferred(heart, study, tmp_path / "own").dataobj))
    with pytest.raises(ValueError, match=r"inference\.yaml: differs from what the student was trained with"):
        deploy(heart, tmp_path / "app", link=True)


def test_a_contradiction_is_refused_with_both_values(heart: Path, tmp_path: Path) -> None:
    study = next((heart.parent / "data" / "images").iterdir())
    done = run_bundle(
        [heart / "configs" / "inference.yaml"], check=False, dataset_dir=study, output_dir=tmp_path, pixdim=[3, 3, -1]
    )
    assert done.returncode
    assert "--pixdim: expected [1." in done.stdout + done.stderr
    assert "found [3, 3, -1]" in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", ["confkd"], indirect=True)
def test_sides_of_a_patch_that_do_not_fit_the_dimensions_are_refused(case: Case, tmp_path: Path) -> None:
    done = case.train(tmp_path, check=False, spatial_dims=3)
    assert "window_size: expected 3 sides for spatial_dims 3, got [32, 32]" in done.stdout + done.stderr


@pytest.mark.parametrize("patch", [[64, 64], [64, 64, 16]], ids=["slices", "volumes"])
def test_a_student_of_the_recipe_is_judged_on_patches_of_its_trainings_size(patch: list[int]) -> None:
    configs = bundle_path("confkd") / "configs"
    parser = ConfigParser()
    parser.read_config([str(configs / "train.yaml"), str(configs / "recipes" / "cpu.yaml")])
    parser["patch_size"] = patch
    assert tuple(parser.get_parsed_content("validate#inferer").inferer.roi_size) == tuple(patch)


@pytest.mark.parametrize("heart", [2], indirect=True, ids=["2D"])
def test_a_whole_slice_is_looked_at_once(heart: Path, tmp_path: Path) -> None:
    """With the window from the command line, as with that from the student's file or the configuration."""
    study = next((heart.parent / "data" / "images").iterdir())
    patches = _inferred(heart, study, tmp_path / "patches").get_fdata()
    whole = _inferred(heart, study, tmp_path / "whole", window_size=[-1, -1]).get_fdata()
    assert patches.shape == whole.shape
    assert 0 < (patches != whole).mean() < 0.5
