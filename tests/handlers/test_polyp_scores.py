"""Polyp scores of an evaluation, each test set by itself."""

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from medkd.handlers.polyp_scores import PolypScores
from medkd.metrics.polyp import PolypMeasures, to_gray


def case(name, dataset, seed):
    rng = np.random.default_rng(seed)
    label = torch.zeros(1, 12, 10)
    label[:, 2:8, 3:7] = 1
    probability = torch.from_numpy(rng.random((1, 12, 10))).float() * 0.4 + 0.4 * label
    image = MetaTensor(torch.zeros(3, 12, 10), meta={"filename_or_obj": f"/data/{dataset}/images/{name}.png"})
    one_hot = torch.cat([1 - label, label])
    return {"image": image, "dataset": dataset}, {"probability": probability, "label": one_hot}


@pytest.fixture
def cases():
    return [case("1", "A", 0), case("2", "A", 1), case("1", "B", 2)]


def run(cases, folder):
    engine = Engine(lambda engine, batch: [output for source, output in cases if source is batch[0]])
    PolypScores(str(folder)).attach(engine)
    engine.run([[source] for source, _ in cases], max_epochs=1)
    return engine.state.metrics


def test_every_set_has_its_own_scores(cases, tmp_path):
    metrics = run(cases, tmp_path)
    expected = PolypMeasures()
    for _, output in cases[:2]:
        expected.step(to_gray(output["probability"][0].numpy()), (255 * output["label"][1].numpy()).astype(np.uint8))
    for name, value in expected.results().items():
        assert metrics[f"A_{name}"] == pytest.approx(value)
    assert metrics["A_dice"] != metrics["B_dice"]


def test_tables_have_a_row_per_image_and_per_set(cases, tmp_path):
    metrics = run(cases, tmp_path)
    table = pd.read_csv(tmp_path / "cases.csv")
    assert list(table.columns) == ["case", "patient", "dataset", "branch", "class", "dice", "iou"]
    assert list(table["patient"]) == ["A/1", "A/2", "B/1"]  # images of one name in two sets are two
    summary = pd.read_csv(tmp_path / "summary.csv").set_index("dataset")
    assert summary.loc["A", "dice"] == pytest.approx(table["dice"][:2].mean(), abs=1e-5)
    assert summary.loc["B", "meanDic"] == pytest.approx(metrics["B_meanDic"], abs=1e-5)


def test_patients_of_the_datalist_are_kept(cases, tmp_path):
    for source, _ in cases:
        source["patient"] = "P"
    run(cases, tmp_path)
    assert set(pd.read_csv(tmp_path / "cases.csv")["patient"]) == {"P"}


def test_a_teacher_s_scores_are_called_so(cases, tmp_path):
    engine = Engine(lambda engine, batch: [cases[0][1]])
    PolypScores(str(tmp_path), branch="teacher").attach(engine)
    engine.run([[cases[0][0]]], max_epochs=1)
    assert set(pd.read_csv(tmp_path / "cases.csv")["branch"]) == {"teacher"}


def test_the_leak_stands_beside_the_result(cases, tmp_path):
    cases[0][0]["seen"] = torch.tensor(True)  # as collated
    cases[1][0]["seen"] = torch.tensor(False)
    run(cases, tmp_path)
    summary = pd.read_csv(tmp_path / "summary.csv").set_index("dataset")
    assert summary[["images", "seen"]].to_numpy().tolist() == [[2, 1], [1, 0]]


def test_a_second_evaluation_starts_anew(cases, tmp_path):
    engine = Engine(lambda engine, batch: [cases[0][1]])
    PolypScores(str(tmp_path)).attach(engine)
    for _ in range(2):
        engine.run([[cases[0][0]]], max_epochs=1)
    assert len(pd.read_csv(tmp_path / "cases.csv")) == 1
