"""The Dice that students are chosen by."""

from __future__ import annotations

from monai.handlers import IgniteMetricHandler, from_engine
from monai.metrics import DiceMetric

__all__ = ["MeanDice"]


class MeanDice(IgniteMetricHandler):
    """Mean Dice of an evaluator's one-hot ``pred`` and ``label`` ``[K, *spatial]``, over images and the classes from 1 on, in [0, 1].

    As in the tables of scores a class that is in neither has Dice 1, one that is found where it is not has 0. MONAI's handler of
    this name leaves both out, and so would not see a student that finds something in every image.
    """

    def __init__(self) -> None:
        metric = DiceMetric(include_background=False, ignore_empty=False)
        super().__init__(metric_fn=metric, output_transform=from_engine(["pred", "label"]))
