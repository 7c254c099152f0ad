"""What an evaluation keeps of every case for the report."""

import io

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.metrics import CalibrationErrorMetric
from monai.transforms import AsDiscrete
from PIL import Image

from medkd.handlers import CaseSlices, SegmentationScores
from medkd.handlers.case_names import numbered
from medkd.metrics.trust import calibration_error


@pytest.fixture
def pairs(tmp_path):
    """Three volumes of 2 × 1 × 0.5 mm as an engine has them: the batch's item, and the output's, with the logits."""
    made, generator = [], torch.Generator().manual_seed(0)
    affine = np.diag([2, 1, 0.5, 1])
    for number in range(3):
        path = tmp_path / f"case{number}.nii.gz"
        nib.save(
            nib.nifti1.Nifti1Image(np.random.default_rng(number).random((20, 16, 4), dtype=np.float32), affine), path
        )
        classes = torch.zeros(1, 20, 16, 4)
        classes[:, 4:12, 4:12, 2] = 1
        classes[:, 6:8, 6:8, 1:3] = 2
        logits = 4 * AsDiscrete(to_onehot=3)(classes) + torch.randn(3, 20, 16, 4, generator=generator)
        one_hot = torch.as_tensor(AsDiscrete(to_onehot=3)(classes)).as_subclass(torch.Tensor)
        label = MetaTensor(one_hot, affine=torch.tensor(affine))
        meta = {"filename_or_obj": str(path)}
        source = {
            "image": MetaTensor(torch.zeros(1, 8, 8, 4), meta=meta),
            "patient": f"p{2 - number}",
            "label": classes,
        }
        made.append((source, {"label": label, "soft": logits, "pred": AsDiscrete(argmax=True, to_onehot=3)(logits)}))
    return made


def run(pairs, folder, **more):
    engine = Engine(lambda engine, batch: [output for source, output in pairs if source is batch[0]])
    engine.state.rank = 0
    kept = CaseSlices(
        str(folder),
        ["ring", "core"],
        {"student": "pred", "teacher": "absent"},
        {"student": "soft", "teacher": "absent"},
        activation="softmax",
        **more,
    )
    kept.attach(engine)
    SegmentationScores(["ring", "core"], {"student": "pred"}, output_dir=str(folder)).attach(engine)
    engine.run([[source] for source, _ in pairs])
    return pd.read_csv(folder / "trust.csv")


def tables(trust):
    return {
        (row["case"], row["class"]): np.array(
            [[row[f"{kind}_{bin_}"] for bin_ in range(10)] for kind in ("pixels", "probability", "right")]
        )
        for row in trust.to_dict("records")
    }


def test_the_calibration_of_every_case_is_monai_s(pairs, tmp_path):
    found = tables(run(pairs, tmp_path / "out"))
    for source, output in pairs:
        metric = CalibrationErrorMetric(num_bins=10, metric_reduction="none")
        metric(y_pred=output["soft"].softmax(0)[None], y=output["label"].as_tensor()[None])
        expected = metric.aggregate()[0]
        case = source["image"].meta["filename_or_obj"].rpartition("/")[2]
        for number, name in ((1, "ring"), (2, "core")):
            assert calibration_error(found[case, name]) == pytest.approx(float(expected[number]), rel=1e-4)


def test_volumes_are_in_millilitres_and_dice_follows_from_them(pairs, tmp_path):
    trust = run(pairs, tmp_path / "out")
    assert set(trust["unit"]) == {"ml"}
    ring = trust[trust["class"] == "ring"]
    assert ring["truth_volume"].tolist() == pytest.approx(
        3 * [(64 - 4) / 1000]
    )  # voxels of 1 mm³, less those of the core
    dice = 2 * trust["overlap_volume"] / (trust["truth_volume"] + trust["predicted_volume"])
    scores = pd.read_csv(tmp_path / "out" / "cases.csv").set_index(["case", "class"])["dice"]
    for (_, row), value in zip(trust.iterrows(), dice, strict=True):
        assert value == pytest.approx(scores[row["case"], row["class"]], abs=1e-5)


def test_entropy_is_torch_s(pairs, tmp_path):
    trust = run(pairs, tmp_path / "out").set_index(["case", "class"])
    entropy = torch.distributions.Categorical(logits=pairs[0][1]["soft"].movedim(0, -1)).entropy() / np.log(3)
    inside = pairs[0][1]["pred"][2] > 0
    assert trust.loc[("case0.nii.gz", "core"), "entropy"] == pytest.approx(float(entropy.mean()), rel=1e-4)
    assert trust.loc[("case0.nii.gz", "core"), "entropy_inside"] == pytest.approx(
        float(entropy[inside].mean()), rel=1e-4
    )


def test_pixels_that_nobody_annotated_are_not_counted(pairs, tmp_path):
    pairs[0][0]["label"][..., 3] = 255
    trust = run(pairs[:1], tmp_path / "out", unannotated_values=[255])
    assert {table[0].sum() for table in tables(trust).values()} == {20 * 16 * 3}


def test_the_slice_is_that_of_the_truth_for_every_network(pairs, tmp_path):
    run(pairs, tmp_path / "out")
    with np.load(tmp_path / "out" / "slices" / "0001.npz") as kept:
        assert sorted(kept.files) == ["image", "student_classes", "student_uncertainty", "truth"]
        truth = pairs[0][1]["label"].argmax(0)[..., 2].T
        np.testing.assert_array_equal(kept["truth"], truth)  # rows first
        np.testing.assert_array_equal(kept["student_classes"], pairs[0][1]["pred"].argmax(0)[..., 2].T)
        assert Image.open(io.BytesIO(kept["image"].tobytes())).size == (20, 16)


def test_numbers_stand_for_names(pairs, tmp_path):
    trust = run(pairs, tmp_path / "out", anonymous=True)
    assert trust["case"].tolist() == ["case 1", "case 1", "case 2", "case 2", "case 3", "case 3"]
    assert set(trust["patient"]) == {"patient 1", "patient 2", "patient 3"}
    assert "case0" not in (tmp_path / "out" / "trust.csv").read_text()


def test_more_pictures_than_wanted_are_not_kept(pairs, tmp_path):
    trust = run(pairs, tmp_path / "out", pictures=2)
    assert len(list((tmp_path / "out" / "slices").iterdir())) == 2
    assert trust["number"].nunique() == 3


def test_a_map_and_its_threshold_are_a_mask(tmp_path):
    """A tile of a histology bundle: the mask is in the batch, the prediction a probability."""
    Image.fromarray(np.zeros((30, 400, 3), np.uint8)).save(tmp_path / "tile.png")
    mask = torch.zeros(1, 400, 30)
    mask[:, :100] = 1
    source = {
        "image": MetaTensor(torch.zeros(3, 8, 8), meta={"filename_or_obj": str(tmp_path / "tile.png")}),
        "mask": mask,
    }
    engine = Engine(lambda engine, batch: [{"pred": 0.4 * mask + 0.3}])
    CaseSlices(
        str(tmp_path), ["tumour"], {"teacher": "pred"}, {"teacher": "pred"}, label_key="mask", threshold=0.6
    ).attach(engine)
    engine.run([[source]])
    (row,) = pd.read_csv(tmp_path / "trust.csv").to_dict("records")
    assert (row["truth_volume"], row["predicted_volume"], row["unit"], row["branch"]) == (
        3000,
        3000,
        "pixels",
        "teacher",
    )
    with np.load(tmp_path / "slices" / "0001.npz") as kept:
        assert kept["truth"].shape == kept["teacher_classes"].shape == (14, 192)


def test_numbers_do_not_depend_on_the_order_of_a_table():
    names = pd.DataFrame({"case": ["b", "a", "a"], "patient": ["1", "3", "2"]})
    assert numbered(names) == [3, 2, 1]
    assert numbered(names.iloc[::-1].reset_index(drop=True)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "relu"}, "activation: expected one of softmax, sigmoid, none, found 'relu'"),
        ({"probabilities": {}}, "expected those of student too"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, arguments, message):
    given = {"branches": {"student": "pred"}, "probabilities": {"student": "soft"}, **arguments}
    with pytest.raises(ValueError, match=message):
        CaseSlices(str(tmp_path), ["ring"], **given)
