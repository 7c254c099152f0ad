"""Ignite handlers, one per file (``tracking`` is imported by itself, because MLflow is slow to import)."""

from medkd.handlers.best_model import BestModel, FinalModel, ModelLoader
from medkd.handlers.case_slices import CaseSlices
from medkd.handlers.epoch_seed import EpochSeed
from medkd.handlers.epoch_stats import EpochStats
from medkd.handlers.gradient_clipping import GradientClipping
from medkd.handlers.loss_terms import LossTerms
from medkd.handlers.mean_dice import MeanDice
from medkd.handlers.overlays import Overlays
from medkd.handlers.progress import Progress
from medkd.handlers.ramp_up import RampUp
from medkd.handlers.role_switch import RoleEvents, RoleSwitch
from medkd.handlers.segmentation_scores import SegmentationScores
from medkd.handlers.tile_scores import TileScores
from medkd.handlers.training_state import TrainingState

__all__ = [
    "BestModel",
    "CaseSlices",
    "EpochSeed",
    "EpochStats",
    "FinalModel",
    "GradientClipping",
    "LossTerms",
    "MeanDice",
    "ModelLoader",
    "Overlays",
    "Progress",
    "RampUp",
    "RoleEvents",
    "RoleSwitch",
    "SegmentationScores",
    "TileScores",
    "TrainingState",
]
