"""The field's polyp measures per test set, as CSV files and as metrics of an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ignite.engine import Engine, Events

from medkd.distributed import gathered
from medkd.files import atomic_path
from medkd.metrics.polyp import PolypMeasures, to_gray

__all__ = ["PolypScores"]


class PolypScores:
    """Score every image of an evaluation, each test set by itself.

    Sets ``engine.state.metrics["<dataset>_dice"]``, ``["<dataset>_meanDic"]``, …; writes ``cases.csv`` (one row per
    image: case, patient, dataset, branch, class, dice, iou) and ``summary.csv`` (one row per test set, with how many images
    there are and how many of them training or validation has ``seen`` a patient of, where the datalist says so). Of several
    processes the first writes the images of all.

    Args:
        output_dir: folder of the CSV files.
        branch: what the network is called in ``cases.csv``: ``"student"``, or ``"teacher"`` where that is scored.
        probability_key: key of the foreground's probability ``[1, H, W]`` in the engine's output, in the image's size.
        label_key: key of the mask ``[1, H, W]``, 0 and 1, or one-hot ``[2, H, W]``.
    """

    def __init__(
        self,
        output_dir: str,
        *,
        branch: str = "student",
        probability_key: str = "probability",
        label_key: str = "label",
    ) -> None:
        self.output_dir, self.branch = Path(output_dir), branch
        self.probability_key, self.label_key = probability_key, label_key
        self._rows: list[dict[str, Any]] = []
        self._sets: dict[str, PolypMeasures] = {}

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator whose output is decollated."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)

    def _clear(self, engine: Engine) -> None:
        self._rows.clear()
        self._sets.clear()

    def __call__(self, engine: Engine) -> None:
        """Score the images of one iteration."""
        output: Any = engine.state.output
        batch: Any = engine.state.batch
        for item, source in zip(output, batch, strict=True):
            name = str(source.get("dataset", "test"))
            path = Path(str(source["image"].meta["filename_or_obj"]))
            prediction = to_gray(item[self.probability_key][0].float().cpu().numpy())
            mask = (255 * (item[self.label_key][-1].cpu().numpy() > 0)).astype(np.uint8)
            scores = self._sets.setdefault(name, PolypMeasures()).step(prediction, mask)
            row = {
                "case": path.name,
                "patient": source.get("patient", f"{name}/{path.stem}"),
                "dataset": name,
                "branch": self.branch,
                "seen": bool(source.get("seen", False)),
            }
            self._rows.append({**row, "class": "polyp", **scores})

    def _report(self, engine: Engine) -> None:
        together: dict[str, PolypMeasures] = {}
        for name, measures in gathered(sorted(self._sets.items())):
            together.setdefault(name, PolypMeasures()).images.extend(measures.images)
        results = {name: measures.results() for name, measures in sorted(together.items())}
        for name, scores in results.items():
            engine.state.metrics.update({f"{name}_{measure}": value for measure, value in scores.items()})
        cases = pd.DataFrame(gathered(self._rows))
        summary = pd.DataFrame(results).T.rename_axis("dataset").reset_index()
        counts = cases.groupby("dataset")["seen"].agg(images="count", seen="sum")
        summary = summary.merge(counts, on="dataset")
        if getattr(engine.state, "rank", 0) == 0:
            for name, table in (("cases.csv", cases.drop(columns="seen")), ("summary.csv", summary)):
                with atomic_path(self.output_dir / name) as partial:
                    table.to_csv(partial, index=False, float_format="%.6f")
