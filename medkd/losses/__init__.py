"""Losses: ``loss(output, batch, teacher=None) -> {"loss": …, named terms …}``."""

from medkd.losses.compact import CompactLoss
from medkd.losses.confkd import ConfKDLoss
from medkd.losses.kdas import KDASLoss
from medkd.losses.mil import BagDiceLoss, FusionDistillationLoss, GeneralizedMeanLoss
from medkd.losses.peers import CrossPseudoLoss, MeanTeacherLoss
from medkd.losses.structure import StructureLoss

__all__ = [
    "BagDiceLoss",
    "CompactLoss",
    "ConfKDLoss",
    "CrossPseudoLoss",
    "FusionDistillationLoss",
    "GeneralizedMeanLoss",
    "KDASLoss",
    "MeanTeacherLoss",
    "StructureLoss",
]
