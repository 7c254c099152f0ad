"""A teacher becomes a folder: what MONAI itself would have written, image by image, whatever happens on the way."""

import json
import shutil
from pathlib import Path
from typing import ClassVar

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose, LoadImage
from PIL import Image

from medkd.bundle import copy_bundle
from medkd.cli import main
from medkd.datasets import DataError, load_datalist, make_polyp_phantoms, with_predictions
from medkd.reading.images import load_image
from medkd.reading.predictions import read_prediction
from medkd.teaching import load_teacher, teach

from .conftest import NETWORK, config, write_bundle


@pytest.fixture(scope="module")
def taught(zoo: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folder") / "predictions"
    assert main(["teach", str(zoo), str(data), str(folder), "--trust"]) == 0
    return folder


def _images(data: Path) -> list[str]:
    return [item["image"] for section in ("training", "validation", "test") for item in load_datalist(data, section)]


def _by_monai(zoo: Path, image: str) -> np.ndarray:
    """Probabilities by the configuration's own steps, up to the one that makes classes of them."""
    parser = ConfigParser(json.loads((zoo / "configs" / "inference.json").read_text()))
    network = parser.get_parsed_content("network")
    network.load_state_dict(torch.load(zoo / "models" / "model.pt", weights_only=True))
    before = parser.get_parsed_content("preprocessing")
    item = before({"image": image})
    with torch.no_grad():
        item["pred"] = parser.get_parsed_content("inferer")(item["image"][None], network.eval())[0]
    after = parser.get_parsed_content("postprocessing").transforms[:2]
    return Compose(after)(item)["pred"].numpy()


def test_predictions_are_those_of_the_bundle_s_own_steps(zoo: Path, data: Path, taught: Path) -> None:
    for item in with_predictions(load_datalist(data, "training"), taught):
        image = LoadImage(image_only=True, ensure_channel_first=True)(item["image"])
        found = read_prediction(item["teacher"], image, 4)
        np.testing.assert_allclose(found[1:].numpy(), _by_monai(zoo, item["image"])[1:], atol=0.51 / 255)
        assert float((found.sum(0) - 1).abs().max()) < 0.01
        np.testing.assert_allclose(nibabel.load(item["teacher"]).affine, nibabel.load(item["image"]).affine)


def test_a_second_run_writes_nothing_and_a_killed_one_goes_on(
    zoo: Path, data: Path, taught: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(taught, tmp_path / "predictions")
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.nii.gz")}
    teacher = load_teacher(zoo, trust=True)
    assert teach([teacher], data, folder).written == 0
    index = folder / "predictions.csv"
    rows = index.read_text().splitlines(keepends=True)
    index.write_text("".join(rows[:-1]) + rows[-1][:20])  # the last row was being written
    first = rows[1].split(",")[0]
    (folder / first).unlink()
    report = teach([teacher], data, folder)
    assert (report.written, report.kept) == (2, len(before) - 2)
    assert len(with_predictions(load_datalist(data, "training"), folder)) == len(load_datalist(data, "training"))
    assert set(before) == {path.name for path in folder.glob("*.nii.gz")}


def test_other_weights_do_not_mix_with_what_is_there(data: Path, taught: Path, tmp_path: Path) -> None:
    other = load_teacher(write_bundle(tmp_path / "other", seed=1), trust=True)
    with pytest.raises(FileExistsError, match="with other weights"):
        teach([other], data, taught)


def test_several_teachers_are_averaged(zoo: Path, data: Path, tmp_path: Path) -> None:
    teachers = [load_teacher(path, trust=True) for path in (zoo, write_bundle(tmp_path / "other", seed=1))]
    teach(teachers, data, tmp_path / "mean", sections=["test"])
    for item in with_predictions(load_datalist(data, "test"), tmp_path / "mean"):
        image = LoadImage(image_only=True, ensure_channel_first=True)(item["image"])
        expected = sum(np.asarray(teacher.predict(item["image"])) for teacher in teachers) / 2
        np.testing.assert_allclose(read_prediction(item["teacher"], image, 4)[1:].numpy(), expected, atol=0.51 / 255)


def test_an_exported_network_in_a_file_teaches_the_same(zoo: Path, data: Path, tmp_path: Path) -> None:
    trained = load_teacher(zoo, trust=True)
    torch.jit.save(torch.jit.trace(trained.network, torch.zeros(1, 1, 32, 32, 4)), tmp_path / "model.ts")
    network = {"_target_": "medkd.networks.ExportedNetwork", "path": "$@bundle_root + '/model.ts'"}
    (tmp_path / "teacher.json").write_text(json.dumps(config(network)))
    exported = load_teacher(tmp_path / "teacher.json", trust=True)
    image = _images(data)[0]
    np.testing.assert_allclose(np.asarray(exported.predict(image)), np.asarray(trained.predict(image)), atol=1e-5)
    assert exported.identity["weights_sha256"]


def test_a_softmax_inside_an_exported_network_is_not_taken_twice(zoo: Path, data: Path, tmp_path: Path) -> None:
    trained = load_teacher(zoo, trust=True)
    whole = torch.nn.Sequential(trained.network, torch.nn.Softmax(1))
    torch.jit.save(torch.jit.trace(whole, torch.zeros(1, 1, 32, 32, 4)), tmp_path / "model.ts")
    content = config({"_target_": "medkd.networks.ExportedNetwork", "path": "$@bundle_root + '/model.ts'"})
    del content["postprocessing"]
    content["inferer"] = {"_target_": "SimpleInferer"}  # where windows overlap, means of probabilities are others
    content["preprocessing"]["transforms"].append(
        {"_target_": "SpatialPadd", "keys": "image", "spatial_size": [64, 64, 8]}
    )
    (tmp_path / "teacher.json").write_text(json.dumps(content))
    exported = load_teacher(tmp_path / "teacher.json", trust=True)
    trained.inferer, trained.before, trained.back = exported.inferer, exported.before, exported.back
    image = _images(data)[0]
    expected, found = np.asarray(trained.predict(image)), np.asarray(exported.predict(image))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    exported.activation = "softmax"
    assert float(np.abs(np.asarray(exported.predict(image)) - expected).max()) > 1e-3


def test_a_network_without_weights_teaches_nobody(zoo: Path) -> None:
    """The file of a bundle's folder, named by itself, says nothing of the bundle's weights."""
    with pytest.raises(ValueError, match="starts from random ones; of a bundle name the folder"):
        load_teacher(zoo / "configs" / "inference.json", trust=True)


def test_weights_that_an_expression_loads_tell_teachers_apart(zoo: Path, tmp_path: Path) -> None:
    content = config(NETWORK)
    del content["network_def"]
    content["network"] = "$torch.jit.load(@bundle_root + '/model.ts')"
    content["imports"] += ["$import torch"]
    (tmp_path / "teacher.json").write_text(json.dumps(content))
    found = []
    for seed in (0, 0, 1):
        trained = load_teacher(write_bundle(tmp_path / f"{len(found)}", seed), trust=True)
        torch.jit.save(torch.jit.trace(trained.network, torch.zeros(1, 1, 32, 32, 4)), tmp_path / "model.ts")
        found.append(load_teacher(tmp_path / "teacher.json", trust=True).identity["weights_sha256"])
    assert found[0] == found[1] != found[2]


class _Nothing(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, float("nan"))


def test_what_is_no_number_is_no_probability(zoo: Path, data: Path) -> None:
    """Of a single channel neither the range nor the sum would tell; in eight bits it would be none at all."""
    teacher = load_teacher(zoo, trust=True, activation="sigmoid")
    teacher.network = _Nothing()
    with pytest.raises(ValueError, match="expected finite probabilities"):
        teacher.predict(_images(data)[0])


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"_target_": "EnsureTyped", "keys": "image", "track_meta": False}, "keeps the image's meta data"),
        ({"_target_": "Lambdad", "keys": "image", "func": "$lambda x: x[:, :32, :32]"}, "of its shape"),
    ],
)
def test_a_prediction_that_is_not_brought_back_is_refused(
    zoo: Path, data: Path, tmp_path: Path, step: dict, said: str
) -> None:
    copy = shutil.copytree(zoo, tmp_path / "copy")
    content = json.loads((copy / "configs" / "inference.json").read_text())
    steps = content["preprocessing"]["transforms"]
    content["preprocessing"]["transforms"] = [*steps[:2], step, steps[-1]]
    (copy / "configs" / "inference.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=said):
        load_teacher(copy, trust=True).predict(_images(data)[0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_taught_upright(tmp_path: Path, orientation: int) -> None:
    """A teacher that says polyp where it is bright, with MONAI's reader, which passes EXIF's note over."""
    network = torch.nn.Conv2d(3, 1, 1)
    with torch.no_grad():
        network.weight[:] = 1 / (3 * 255)
        network.bias.zero_()
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 3, 8, 8)), tmp_path / "model.ts")
    content = config({"_target_": "medkd.networks.ExportedNetwork", "path": "$@bundle_root + '/model.ts'"})
    content["preprocessing"]["transforms"] = [{"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True}]
    content["preprocessing"]["transforms"].append({"_target_": "Flipd", "keys": "image", "spatial_axis": 0})
    content["preprocessing"]["transforms"].append({"_target_": "CastToTyped", "keys": "image"})
    content["inferer"] = {"_target_": "SimpleInferer"}
    del content["postprocessing"]
    (tmp_path / "teacher.json").write_text(json.dumps(content))
    stored, exif = np.zeros((30, 40, 3), np.uint8), Image.Exif()
    stored[:8, 24:] = 255
    exif[0x0112] = orientation
    (tmp_path / "images").mkdir()
    Image.fromarray(stored).save(tmp_path / "images" / "frame.png", exif=exif)
    (tmp_path / "datalist.json").write_text(json.dumps({"training": [{"image": "images/frame.png"}]}))
    teach([load_teacher(tmp_path / "teacher.json", trust=True)], tmp_path, tmp_path / "out", sections=["training"])
    (item,) = with_predictions([{"image": str(tmp_path / "images" / "frame.png")}], tmp_path / "out")
    image = load_image(item["image"])
    np.testing.assert_allclose(read_prediction(item["teacher"], image, 2)[1].numpy(), image[0].numpy() / 255, atol=0.01)


def test_what_a_stranger_wrote_is_shown_and_not_run(zoo: Path, data: Path, tmp_path: Path, capsys) -> None:
    strange = shutil.copytree(zoo, tmp_path / "strange")
    file, trace = strange / "configs" / "inference.json", tmp_path / "trace"
    content = json.loads(file.read_text())
    content["imports"] = [f"$open('{trace}', 'w').write('was here')"]
    content["inferer"] = {"_target_": "subprocess.run", "args": ["true"]}
    file.write_text(json.dumps(content))
    assert main(["teach", str(strange), str(data), str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().err
    assert "imports#0: $open(" in printed
    assert "inferer#_target_: subprocess.run" in printed
    assert "--trust" in printed
    assert not trace.exists()
    assert not (tmp_path / "out").exists()


def test_nothing_of_a_bundle_is_read_beside_the_configuration_that_was_looked_at(tmp_path: Path) -> None:
    """medkd's own inference.yaml needs no trust; what a stranger put beside it gets none."""
    bundle, trace = copy_bundle("confkd", tmp_path / "heart"), tmp_path / "trace"
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    content = {
        "model": parser.get_parsed_content("network_def").state_dict(),
        "settings": {"class_names": ["a", "b", "c"]},
    }
    (bundle / "models").mkdir()
    torch.save(content, bundle / "models" / "model.pt")
    (bundle / "configs" / "train.yaml").write_text(f"class_names: \"$open('{trace}', 'w').write('was here')\"\n")
    load_teacher(bundle)
    assert not trace.exists()


def test_another_activation_does_not_mix_with_what_is_there(zoo: Path, data: Path, taught: Path) -> None:
    with pytest.raises(FileExistsError, match="configuration or activation"):
        teach([load_teacher(zoo, trust=True, activation="softmax")], data, taught)


def test_a_wrong_datalist_or_section_leaves_nothing(zoo: Path, data: Path, tmp_path: Path) -> None:
    teacher = load_teacher(zoo, trust=True)
    with pytest.raises(FileNotFoundError, match="no datalist there"):
        teach([teacher], tmp_path / "none", tmp_path / "out")
    with pytest.raises(ValueError, match="expected some of training, validation, test, got trainnig"):
        teach([teacher], data, tmp_path / "out", sections=["trainnig"])
    assert not (tmp_path / "out").exists()


class _Sure:
    """A teacher that finds next to nothing."""

    identity: ClassVar[dict[str, str]] = {"teacher": "sure"}

    def predict(self, image: str | Path) -> torch.Tensor:
        return torch.full((1, *LoadImage(image_only=True)(image).shape[:2]), 0.004)


def test_a_frame_in_which_a_teacher_finds_nothing_teaches_nothing(tmp_path: Path) -> None:
    make_polyp_phantoms(tmp_path / "data", training=2, validation=1, test=1, size=64)
    teach([_Sure()], tmp_path / "data", tmp_path / "maps")
    for item in with_predictions(load_datalist(tmp_path / "data", "training"), tmp_path / "maps"):
        frame = LoadImage(image_only=True, ensure_channel_first=True)(item["image"])
        assert float(read_prediction(item["teacher"], frame, 2)[1].max()) == pytest.approx(1 / 255)


def test_an_image_that_changed_is_not_taught_by_what_was_seen_before(data: Path, taught: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(data, tmp_path / "moved")
    items = load_datalist(moved, "training")
    assert len(with_predictions(items, taught)) == len(items)  # wherever it lies
    image = nibabel.load(items[0]["image"])
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[::-1], image.affine), items[0]["image"])
    Path(items[1]["image"]).rename(tmp_path / "moved" / "new.nii.gz")
    changed = nibabel.load(tmp_path / "moved" / "new.nii.gz")
    nibabel.save(
        nibabel.Nifti1Image(2 * np.asarray(changed.dataobj), changed.affine), tmp_path / "moved" / "new.nii.gz"
    )
    items[1]["image"] = str(tmp_path / "moved" / "new.nii.gz")
    with pytest.raises(DataError, match="2 problem") as caught:
        with_predictions(items, taught)
    assert "changed since" in caught.value.problems[0]
    assert "found none" in caught.value.problems[1]


def test_an_image_without_label_may_be_left_out_one_with_a_label_not(data: Path, taught: Path, tmp_path: Path) -> None:
    items = load_datalist(data, "training")
    folder = shutil.copytree(taught, tmp_path / "fewer")
    for item in with_predictions(items[:1], folder):
        Path(item["teacher"]).unlink()
    with pytest.raises(
        DataError, match=r"1 problem.*\n.*expected a prediction of it, found none"
    ):  # it has not changed
        with_predictions(items, folder, leave_out=True)
    items[0].pop("label")
    assert len(with_predictions(items, folder, leave_out=True)) == len(items) - 1


def test_images_that_a_teacher_refuses_are_all_named_and_the_others_written(
    zoo: Path, data: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(data, tmp_path / "broken")
    items = load_datalist(broken, "training")
    for item in items[:2]:
        Path(item["image"]).write_bytes(b"no image")
    with pytest.raises(DataError, match="2 problem") as caught:
        teach([load_teacher(zoo, trust=True)], broken, tmp_path / "out")
    assert all(item["image"] in problem for item, problem in zip(items, caught.value.problems, strict=False))
    assert "applying transform" not in str(caught.value)  # MONAI's words for where, not what
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == len(_images(broken)) - 2


def test_maps_that_overlap_are_refused(zoo: Path, data: Path) -> None:
    teacher = load_teacher(zoo, trust=True, activation="sigmoid")
    with pytest.raises(ValueError, match=r"4 channels.*--activation"):
        teacher.predict(_images(data)[0])


@pytest.mark.parametrize(("key", "named"), [("inferer", "inferer"), ("network_def", "network_def")])
def test_a_configuration_that_lacks_a_part_is_refused(zoo: Path, tmp_path: Path, key: str, named: str) -> None:
    copy = shutil.copytree(zoo, tmp_path / "copy")
    file = copy / "configs" / "inference.json"
    content = json.loads(file.read_text())
    for name in {key, "network"}:
        content.pop(name)
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"expected {named}"):
        load_teacher(copy, trust=True)


def test_no_bundle_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"inference\.yaml or \.json.*found none"):
        load_teacher(tmp_path)
    (tmp_path / "teacher.pt").touch()
    with pytest.raises(FileNotFoundError, match=r"teacher\.pt: expected the folder of a bundle .*, found another"):
        load_teacher(tmp_path / "teacher.pt")
