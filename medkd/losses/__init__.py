"""Losses: ``loss(output, batch, teacher=None) -> {"loss": …, named terms …}``."""

from medkd.losses.confkd import ConfKDLoss

__all__ = ["ConfKDLoss"]
