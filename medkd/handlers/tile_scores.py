"""Scores of tumour maps per tile, per region and over all, beside those of an all-foreground map."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ignite.engine import Engine, Events

from medkd.distributed import gathered
from medkd.files import atomic_path
from medkd.metrics.tiles import RegionScores, tile_scores

__all__ = ["TileScores"]

BASELINE = "all_foreground"
_MEASURES = ["pxap", "iou", "f1", "background_f1", "hausdorff"]


class TileScores:
    """Score every tile of an evaluation.

    F1 and the Hausdorff distance are those of positive tiles, background F1 is that of negative ones, each averaged over
    tiles; IoU and PxAP are over all pixels of a region. Every table also scores the map that is all foreground (branch
    ``all_foreground``): where a structure fills half of its tiles, that map has a high F1, and a method must beat it.

    Writes ``cases.csv`` (one row per tile), ``regions.csv`` (one row per region: the item's ``region``, or the tile itself)
    and ``summary.csv`` (all tiles together, and the threshold); sets ``engine.state.metrics["student_f1"]``, ``["student_pxap"]``, …. Of several
    processes the first writes the tiles of all.

    Args:
        output_dir: folder of the CSV files.
        threshold: of the probability, for the mask.
        hausdorff: also compute the Hausdorff distance, in pixels.
        branch: what the network is called: ``"student"``, or ``"teacher"`` where that is scored.
        pred_key: key of the map ``[1, *spatial]`` in the engine's output, in the tile's own size.
        mask_key: key of the mask ``[1, *spatial]`` in the engine's batch.
    """

    def __init__(
        self,
        output_dir: str,
        *,
        threshold: float = 0.5,
        hausdorff: bool = True,
        branch: str = "student",
        pred_key: str = "pred",
        mask_key: str = "mask",
    ) -> None:
        self.output_dir = Path(output_dir)
        self.threshold, self.hausdorff, self.branch = threshold, hausdorff, branch
        self.pred_key, self.mask_key = pred_key, mask_key
        self._tiles: list[list[dict[str, Any]]] = []  # a row per branch
        self._regions: dict[tuple[str, str, str], RegionScores] = {}

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator whose output is decollated."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)

    def _clear(self, engine: Engine) -> None:
        self._tiles.clear()
        self._regions.clear()

    def __call__(self, engine: Engine) -> None:
        """Score the tiles of one iteration."""
        output: Any = engine.state.output
        batch: Any = engine.state.batch
        for item, source in zip(output, batch, strict=True):
            probability = item[self.pred_key][0].float().cpu().numpy().clip(0, 1)
            mask = source[self.mask_key][0].cpu().numpy() > 0.5
            place = _place(source)
            branches = ((self.branch, probability), (BASELINE, np.ones_like(probability)))
            self._tiles.append([self._score(place, branch, known, mask) for branch, known in branches])

    def _score(self, place: dict[str, str], branch: str, probability: Any, mask: Any) -> dict[str, Any]:
        prediction = probability > self.threshold
        hausdorff = self.hausdorff and branch != BASELINE
        scores = tile_scores(prediction, mask, hausdorff=hausdorff)
        key = (place["region"], place["patient"], branch)
        self._regions.setdefault(key, RegionScores()).step(probability, prediction, mask)
        return {**place, "positive": int(mask.any()), "branch": branch, **scores}

    def _report(self, engine: Any) -> None:
        cases = pd.DataFrame(chain.from_iterable(gathered(self._tiles)))
        together: dict[tuple[str, str, str], RegionScores] = {}
        for key, region in gathered(self._regions.items()):
            together[key] = together.get(key, RegionScores()) + region
        unit = ["region", "patient", "branch"]
        means = cases.groupby(unit, sort=False)[["f1", "background_f1", "hausdorff"]].mean().reset_index()
        pooled = [{**dict(zip(unit, key, strict=True)), **region.results()} for key, region in together.items()]
        regions = means.merge(pd.DataFrame(pooled), on=unit)[[*unit, *_MEASURES]]
        summary = pd.DataFrame([_overall(cases, together, branch) for branch in dict.fromkeys(cases["branch"])])
        summary["threshold"] = self.threshold
        for row in summary.to_dict("records"):
            engine.state.metrics.update({f"{row['branch']}_{name}": row[name] for name in _MEASURES})
        if getattr(engine.state, "rank", 0) == 0:
            for name, table in (("cases.csv", cases), ("regions.csv", regions), ("summary.csv", summary)):
                with atomic_path(self.output_dir / name) as partial:
                    table.to_csv(partial, index=False, float_format="%.6f")


def _overall(cases: pd.DataFrame, regions: Mapping[tuple[str, str, str], RegionScores], branch: str) -> dict[str, Any]:
    """A branch's scores over all tiles."""
    own = cases[cases["branch"] == branch]
    pooled = sum((region for (_, _, name), region in regions.items() if name == branch), RegionScores())
    counts = {"tiles": len(own), "positive": int(own["positive"].sum())}
    means = own[["f1", "background_f1", "hausdorff"]].mean().to_dict()
    return {"branch": branch, **counts, **pooled.results(), **means}


def _place(source: Any) -> dict[str, str]:
    """Which tile it is: its file, where in it, its region and its patient."""
    meta = source["image"].meta
    path = Path(str(meta["filename_or_obj"]))
    where = " ".join(str(int(number)) for number in meta.get("region", [])[:2])
    region = str(source.get("region", path.stem))
    return {"case": path.name, "location": where, "region": region, "patient": str(source.get("patient", region))}
