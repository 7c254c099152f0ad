"""The ablation ladder: a bundle's rungs, trained and tested over seeds, compared rung by rung. One for all bundles."""

from medkd.ladder.intervals import Comparison, compare
from medkd.ladder.mlflow_parent import where_to_look
from medkd.ladder.overrides import overridden
from medkd.ladder.plan import Ladder, load_ladder
from medkd.ladder.runner import run_ladder
from medkd.ladder.table import render

__all__ = ["Comparison", "Ladder", "compare", "load_ladder", "overridden", "render", "run_ladder", "where_to_look"]
