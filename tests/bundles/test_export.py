"""A student in every format of deployment: the network's outputs, the bundle's metadata, or no file at all."""

import json
import re
import shutil
from pathlib import Path

import onnx
import pytest
import torch
import yaml
from monai.data import load_net_with_metadata

from medkd.cli import main
from medkd.export import FORMATS, export_bundle
from medkd.network_inputs import network_inputs
from medkd.networks import ExportedNetwork
from medkd.serving import deploy

from .conftest import Case, with_student


@pytest.fixture(scope="module")
def own(case: Case, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_student(case, trained, tmp_path_factory.mktemp("export"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format_", sorted(FORMATS))
def test_exported_student_gives_the_network_s_outputs(case: Case, own: Path, exported: dict, format_: str) -> None:
    path, printed = exported[format_]
    assert str(path) in printed
    assert "largest difference" in printed
    network, inputs = network_inputs(own, case.data / "images")
    assert len(inputs) > 1
    student = ExportedNetwork(str(path))
    with torch.no_grad():
        for x in (inputs[0], torch.cat([inputs[0][:1], inputs[1][:1], inputs[0][:1]])):  # the batch is free
            torch.testing.assert_close(student(x), network(x), atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["confkd"], indirect=True)
@pytest.mark.parametrize("format_", sorted(FORMATS))
def test_where_windows_are_whole_sides_images_of_any_size_are_seen(
    case: Case, trained: Path, tmp_path: Path, format_: str
) -> None:
    own = with_student(case, trained, tmp_path)
    content = torch.load(own / "models" / "model.pt", weights_only=True)
    content["settings"]["window_size"] = [-1, -1]
    torch.save(content, own / "models" / "model.pt")
    report = export_bundle(own, format=format_, images=case.data / "images")
    network, (first, *_) = network_inputs(own, case.data / "images")
    assert first.shape[2:] == (64, 64)  # not patches of 32
    student = ExportedNetwork(str(report.path))
    with torch.no_grad():
        for size in ((32, 96), (224, 160)):
            x = torch.rand(3, 1, *size)
            torch.testing.assert_close(student(x), network(x), atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_metadata_travel_in_the_file(own: Path, exported: dict) -> None:
    name = json.loads((own / "configs" / "metadata.json").read_text())["name"]
    assert load_net_with_metadata(str(exported["torchscript"][0]))[1]["name"] == name
    stored = {entry.key: entry.value for entry in onnx.load(exported["onnx"][0]).metadata_props}
    assert json.loads(stored["metadata.json"])["name"] == name
    extra = {"metadata.json": ""}
    torch.export.load(exported["exported_program"][0], extra_files=extra)
    assert json.loads(extra["metadata.json"])["name"] == name


@pytest.mark.filterwarnings("ignore")
def test_without_a_place_the_export_is_beside_the_weights(case: Case, own: Path) -> None:
    report = export_bundle(own, format="torchscript", images=case.data / "images")
    assert report.path == own / "models" / "model.ts"
    report.path.unlink()


def test_the_student_can_be_deployed(case: Case, own: Path, tmp_path: Path) -> None:
    """As it was trained, with settings of its own: the files that the server reads say them."""
    version = deploy(own, tmp_path / "app", name="student").version
    kept = torch.load(version / "models" / "model.pt", weights_only=True)["settings"]
    config = yaml.safe_load((version / "configs" / "inference.yaml").read_text())
    assert {key: config[key] for key in ("patch_size", "image_size", "class_names") if key in config} == {
        key: kept[key] for key in ("patch_size", "image_size", "class_names") if key in kept
    }


class _Half(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.5


@pytest.mark.filterwarnings("ignore")
def test_an_export_that_differs_is_refused_and_leaves_nothing(case: Case, own: Path, monkeypatch) -> None:
    write = FORMATS["torchscript"]
    off = lambda network, *rest: write(torch.nn.Sequential(network, _Half()), *rest)  # noqa: E731
    monkeypatch.setitem(FORMATS, "torchscript", off)
    with pytest.raises(ValueError, match=r"model\.ts: expected the network's outputs .* found 0\.5 off"):
        export_bundle(own, format="torchscript", images=case.data / "images", tolerance=1e-3)
    assert [path.name for path in (own / "models").iterdir()] == ["model.pt"]


def test_what_is_missing_is_named(case: Case, own: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.pt: expected a trained model"):
        export_bundle(own, format="onnx", images=case.data / "images", model_path=tmp_path / "none.pt")
    with pytest.raises(
        ValueError, match=r"format must be one of \['exported_program', 'onnx', 'torchscript'\], got 'x'"
    ):
        export_bundle(own, format="x", images=case.data / "images")


@pytest.mark.parametrize("case", ["confkd"], indirect=True)
def test_what_calibrates_comes_from_all_over_the_images(case: Case, own: Path) -> None:
    """The first windows of a volume are its corner, where there is nothing to see."""
    images = sorted((case.data / "images").iterdir())
    of_each = [network_inputs(own, image, limit=1000)[1] for image in images]
    assert min(map(len, of_each)) > 1
    drawn = network_inputs(own, case.data / "images", limit=len(images), spread=True)[1]
    places = [
        [number for number, x in enumerate(every) if x.shape == found.shape and torch.equal(x, found)]
        for every, found in zip(of_each, drawn, strict=True)
    ]
    assert all(places)  # one of each image
    assert len({place[0] for place in places}) > 1
    again = network_inputs(own, case.data / "images", limit=len(images), spread=True)[1]
    assert all(map(torch.equal, drawn, again))
    some = network_inputs(own, [str(image) for image in images], limit=2, spread=True)[1]
    assert [any(torch.equal(x, found) for x in of_each[0]) for found in some] == [True, False]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["kdas"], indirect=True)
def test_int8_is_decided_by_the_bundle_s_own_metric(case: Case, own: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "student.onnx"
    elsewhere = shutil.copytree(own / "configs", tmp_path / "bundle" / "configs").parent  # a student in another place
    command = ["export", str(elsewhere), "--model_path", str(own / "models" / "model.pt"), "--format", "onnx"]
    command += ["--precision", "int8", "--dataset_dir", str(case.data)]
    assert main([*command, "--bound", "1", "--output", str(out)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"Score:     val_mean_dice 0\.\d{4}, in float32 0\.\d{4}", printed)
    assert re.search(r"Layers:    0 of \d+ stay in float32", printed)
    network, inputs = network_inputs(own, case.data / "images")
    with torch.no_grad():
        found, expected = ExportedNetwork(str(out))(inputs[0]), network(inputs[0])
    assert 0 < (found - expected).norm() / expected.norm() < 0.5
    assert main(command[:-2]) == 1
    assert "training images calibrate, its validation images decide" in capsys.readouterr().err
    with pytest.raises(ValueError, match="dataset_dir for int8 alone"):
        export_bundle(own, format="onnx", dataset_dir=case.data)
    with pytest.raises(ValueError, match="int8, got 'int8' of torchscript"):
        export_bundle(own, format="torchscript", precision="int8")
