"""Ignite engines in MONAI's form."""

from medkd.engines.distillation import DistillationTrainer
from medkd.engines.evaluation import DistillationEvaluator
from medkd.engines.patches import patch_inferer
from medkd.engines.precision import AutocastInferer, autocast_dtype
from medkd.engines.selection import PrepareSelection

__all__ = [
    "AutocastInferer",
    "DistillationEvaluator",
    "DistillationTrainer",
    "PrepareSelection",
    "autocast_dtype",
    "patch_inferer",
]
