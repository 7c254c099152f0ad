"""Ignite engines in MONAI's form."""

from medkd.engines.distillation import DistillationTrainer
from medkd.engines.evaluation import DistillationEvaluator
from medkd.engines.patches import patch_inferer
from medkd.engines.selection import PrepareSelection

__all__ = ["DistillationEvaluator", "DistillationTrainer", "PrepareSelection", "patch_inferer"]
