"""Ignite engines in MONAI's form."""

from medkd.engines.distillation import DistillationTrainer
from medkd.engines.evaluation import DistillationEvaluator

__all__ = ["DistillationEvaluator", "DistillationTrainer"]
