"""Dice, HD95 and surface Dice per class, case and branch, as metrics of an engine and as CSV files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from ignite.engine import Engine, Events
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice
from torch import Tensor

from medkd.distributed import gathered
from medkd.files import atomic_path
from medkd.metrics.spacing import known_spacing

__all__ = ["SegmentationScores", "score_case"]

_SCORES = ("dice", "hd95", "surface_dice")


class SegmentationScores:
    """Score every case of an evaluation, for every branch of the network.

    Sets ``engine.state.metrics["student_dice"]``, ``["student_dice_myocardium"]``, …, the means over cases. With
    ``output_dir`` also writes ``cases.csv`` (one row per case, branch and class, with the item's ``patient`` if it has
    one) and ``summary.csv`` (mean, standard deviation, median and number of cases). A class that is absent from
    prediction and label has Dice 1; HD95 is empty where one of the two is absent, and such cases are counted in the
    summary. The surface Dice is 0 there, and empty where both are.

    Args:
        class_names: names of the classes from 1 on; 0 is the background.
        branches: for each branch the key of its one-hot prediction ``[K, *spatial]`` in the engine's output.
        hausdorff: also compute the 95th percentile of the Hausdorff distance, in mm where the spacing is known.
        surface_tolerance: also compute the normalised surface Dice: the share of both surfaces that lies within this distance of
            the other one (Nikolov et al., arXiv 1809.04430); in the same unit, > 0.
        output_dir: folder of the CSV files; ``None`` for none.
        label_key: key of the one-hot label ``[K, *spatial]``.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        branches: Mapping[str, str],
        *,
        hausdorff: bool = False,
        surface_tolerance: float | None = None,
        output_dir: str | None = None,
        label_key: str = "label",
    ) -> None:
        self.class_names = list(class_names)
        self.branches = dict(branches)
        self.distances: dict[str, Any] = {"hausdorff": hausdorff, "surface_tolerance": surface_tolerance}
        self.output_dir = Path(output_dir) if output_dir else None
        self.label_key = label_key
        self._rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator whose output is decollated."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda _: self._rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)

    def __call__(self, engine: Engine) -> None:
        """Score the cases of one iteration."""
        output: Any = engine.state.output
        batch: Any = engine.state.batch
        for item, source in zip(output, batch, strict=True):
            label = item[self.label_key]
            path = str(source["image"].meta["filename_or_obj"])
            case = Path(path).name
            patient = str(source.get("patient", case))
            for branch, key in self.branches.items():
                if key in item:
                    rows = score_case(item[key], label, self.class_names, **self.distances)
                    self._rows += [
                        {"path": path, "case": case, "patient": patient, "branch": branch, **row} for row in rows
                    ]

    def _report(self, engine: Engine) -> None:
        rows = gathered(self._rows)
        if not rows:
            raise ValueError(f"expected a prediction under one of {list(self.branches.values())}, found none of them")
        # Samplers may deal a case to two processes; the path tells cases of one file name apart.
        cases = pd.DataFrame(rows).drop_duplicates(["path", "branch", "class"]).drop(columns="path")
        cases = cases.sort_values(["patient", "case", "branch"], kind="stable", ignore_index=True)
        for score in [score for score in _SCORES if score in cases]:
            means = cases.groupby(["branch", "class"], sort=False)[score].mean()
            for (branch, name), value in means.items():
                engine.state.metrics[f"{branch}_{score}_{name.replace(' ', '_')}"] = float(value)
            for branch, value in means.groupby("branch").mean().items():
                engine.state.metrics[f"{branch}_{score}"] = float(value)
        if self.output_dir is not None and getattr(engine.state, "rank", 0) == 0:
            _write_csv(cases, self.output_dir / "cases.csv")
            _write_csv(_summary(cases), self.output_dir / "summary.csv")


def score_case(
    prediction: Tensor,
    label: Tensor,
    class_names: Sequence[str],
    *,
    hausdorff: bool = False,
    surface_tolerance: float | None = None,
) -> list[dict[str, Any]]:
    """Scores of one case, a row per class.

    Args:
        prediction: one-hot ``[K, *spatial]``.
        label: one-hot ``[K, *spatial]``; a ``MetaTensor`` if its spacing is to be used.
        class_names: the K - 1 names of the classes from 1 on.
        hausdorff: also compute HD95.
        surface_tolerance: also compute the normalised surface Dice at this distance.

    Returns:
        For each class ``class`` and ``dice`` in [0, 1]; with ``hausdorff`` also ``hd95`` (NaN where prediction or
        label lacks the class), with ``surface_tolerance`` ``surface_dice`` in [0, 1] (NaN where both do), and with either
        ``unit``, ``"mm"`` or ``"voxels"``.

    Raises:
        ValueError: if the shapes differ.
    """
    if prediction.shape != label.shape:
        raise ValueError(
            f"expected a prediction of the label's shape {tuple(label.shape)}, got {tuple(prediction.shape)}"
        )
    pair = (torch.as_tensor(prediction)[None], torch.as_tensor(label)[None])
    dice = compute_dice(*pair, include_background=False, ignore_empty=False)[0]
    rows: list[dict[str, Any]] = [
        {"class": name, "dice": float(value)} for name, value in zip(class_names, dice, strict=True)
    ]
    spacing, unit = known_spacing(label)
    for number, row in enumerate(rows, start=1):
        one = (pair[0][:, number : number + 1], pair[1][:, number : number + 1])
        if hausdorff:
            row |= {"hd95": _hausdorff(*one, spacing)}
        if surface_tolerance is not None:
            row |= {"surface_dice": _surface_dice(*one, surface_tolerance, spacing)}
        if len(row) > 2:
            row |= {"unit": unit}
    return rows


def _hausdorff(prediction: Tensor, label: Tensor, spacing: tuple[float, ...]) -> float:
    if not (prediction.any() and label.any()):
        return float("nan")
    distance = compute_hausdorff_distance(prediction, label, include_background=True, percentile=95, spacing=spacing)
    return float(distance)


def _surface_dice(prediction: Tensor, label: Tensor, tolerance: float, spacing: tuple[float, ...]) -> float:
    if not (prediction.any() and label.any()):
        return 0.0 if prediction.any() or label.any() else float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI's metric warns of another function of MONAI
        return float(compute_surface_dice(prediction, label, [tolerance], include_background=True, spacing=spacing))


def _summary(cases: pd.DataFrame) -> pd.DataFrame:
    """Mean, SD, median and number of cases per branch and class, and over the classes of each case."""
    scores = [score for score in _SCORES if score in cases]
    over_classes = (
        cases.groupby(["branch", "patient", "case"], as_index=False)[scores].mean().assign(**{"class": "mean"})
    )
    table = pd.concat([cases, over_classes]).melt(["branch", "class"], scores, var_name="score")
    grouped = table.groupby(["branch", "class", "score"], sort=False)["value"]
    summary = grouped.agg(
        mean="mean", sd="std", median="median", cases="count", undefined=lambda v: int(v.isna().sum())
    )
    complete: pd.DataFrame = summary.reset_index()
    if "unit" in cases:  # of distances; Dice has none
        unit = " and ".join(sorted(cases["unit"].unique()))
        complete["unit"] = complete["score"].map({"hd95": unit}).fillna("")
    return complete


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6f")
