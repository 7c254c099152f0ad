"""By what students are chosen: the same Dice as that of the tables, images without the structure included."""

import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigParser

from medkd.bundle import bundle_path
from medkd.handlers.segmentation_scores import score_case


@pytest.mark.parametrize("bundle", ["compact", "confkd", "kdas"])
def test_what_is_found_where_there_is_nothing_counts(bundle: str) -> None:
    parser = ConfigParser()
    parser.read_config(str(bundle_path(bundle) / "configs" / "train.yaml"))
    (metric,) = parser.get_parsed_content("validate#key_metric").values()
    truth, empty, wrong = (torch.zeros(2, 8, 8) for _ in range(3))
    for mask, rows in ((truth, 4), (empty, 0), (wrong, 2)):
        mask[1, :rows] = 1
        mask[0, rows:] = 1
    pairs = [(truth, truth), (empty, empty), (wrong, empty)]  # prediction, label
    engine = Engine(lambda engine, pair: [{"pred": pair[0], "label": pair[1]}])
    metric.attach(engine, "dice")
    engine.run(pairs)
    tables = [score_case(*pair, ["structure"])[0]["dice"] for pair in pairs]
    assert tables == [1, 1, 0]
    assert engine.state.metrics["dice"] == pytest.approx(sum(tables) / 3)
