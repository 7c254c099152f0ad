"""The student's threshold is calibrated by every validation, on maps as they are deployed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.transforms import GaussianSmooth

from medkd.networks import load_model

from .conftest import Case

pytestmark = pytest.mark.parametrize("case", ["ikdmil"], indirect=True)


def validated(case: Case, root: Path, evaluator: str, **settings: Any) -> tuple[Any, np.ndarray]:
    """A validation as ``train.yaml`` has it: the evaluator, and its maps of negative images."""
    parser = ConfigParser()
    parser.read_config([str(case.bundle / "configs" / "train.yaml")])
    parser.update({key: str(v) if isinstance(v, Path) else v for key, v in case.training(root, **settings).items()})
    torch.manual_seed(0)
    engine, maps = parser.get_parsed_content(f"{evaluator}#evaluator"), []

    def keep(engine: Any) -> None:
        pairs = zip(engine.state.output, engine.state.batch, strict=True)
        maps.extend(item["pred"].numpy() for item, source in pairs if float(source["label"]) == 0)

    engine.add_event_handler(Events.ITERATION_COMPLETED, keep)
    engine.run()
    return engine, np.stack(maps)


@pytest.mark.parametrize("evaluator", ["validate", "mil"])
def test_a_twentieth_of_the_negative_pixels_is_foreground(case: Case, tmp_path: Path, evaluator: str) -> None:
    size = {"image_size": [64, 64]}  # that of the tiles: maps are not resized after the smoothing
    engine, maps = validated(case, tmp_path, evaluator, **size)
    found = engine.state.metrics["threshold"]
    assert found == pytest.approx(np.quantile(maps, 0.95), abs=1e-3)
    assert 0.04 < (maps >= found).mean() <= 0.05
    plain = validated(case, tmp_path, evaluator, smoothing=0, **size)[1]
    wider = np.pad(plain, [(0, 0), (0, 0), (12, 12), (12, 12)], mode="edge")  # so that MONAI's zeros lie outside
    np.testing.assert_allclose(maps, np.stack([GaussianSmooth(3)(m)[:, 12:-12, 12:-12] for m in wider]), atol=1e-5)


def test_another_share_and_a_number_are_taken(case: Case, tmp_path: Path) -> None:
    engine, maps = validated(case, tmp_path, "validate", false_positive_rate=0.5)
    assert engine.state.metrics["threshold"] == pytest.approx(np.median(maps), abs=1e-3)
    assert validated(case, tmp_path, "validate", threshold=0.25)[0].state.metrics["threshold"] == 0.25


def test_the_student_keeps_the_threshold_of_its_epoch(case: Case, tmp_path: Path) -> None:
    """It is scored with it, and what was calibrated on the test set is never used."""
    case.train(tmp_path, max_epochs=2)
    kept = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    engine, _ = validated(case, tmp_path / "again", "validate")
    load_model(tmp_path / "models" / "model.pt", engine.network)
    engine.run()
    assert kept["settings"]["threshold"] == pytest.approx(engine.state.metrics["threshold"], rel=1e-4)
    case.train(tmp_path, "evaluate.yaml")
    summary = pd.read_csv(tmp_path / "eval" / "summary.csv")
    assert summary["threshold"].tolist() == pytest.approx([kept["settings"]["threshold"]] * 2, abs=1e-6)


def test_without_a_validation_there_is_none_to_keep(case: Case, tmp_path: Path) -> None:
    done = case.train(tmp_path, val_interval=0, max_epochs=1)
    assert "threshold" not in torch.load(tmp_path / "models" / "model.pt", weights_only=True)["settings"]
    assert "threshold: expected a validation to calibrate it, found none: " in done.stdout + done.stderr
    case.train(tmp_path / "told", val_interval=0, max_epochs=1, threshold=0.3)
    settings = torch.load(tmp_path / "told" / "models" / "model.pt", weights_only=True)["settings"]
    assert settings["threshold"] == 0.3


def test_what_is_scored_does_not_set_the_threshold(case: Case, tmp_path: Path) -> None:
    case.train(tmp_path, "evaluate.yaml", model_path=case.settings["teacher_path"], threshold=0.3)
    summary = pd.read_csv(tmp_path / "eval" / "summary.csv")
    assert summary["threshold"].tolist() == [0.3, 0.3]
