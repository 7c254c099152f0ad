"""Metrics of an epoch in the log."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from monai.handlers import StatsHandler

__all__ = ["EpochStats"]


class EpochStats(StatsHandler):
    """MONAI's ``StatsHandler`` that logs epochs alone, and leaves errors to the program and to the handlers behind it.

    MONAI's logs their traceback and raises them before ``TrackingHandler`` has marked its run.

    Args:
        kwargs: other arguments of ``monai.handlers.StatsHandler``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(iteration_log=False, **kwargs)

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        if self.name is None:
            self.logger = engine.logger
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)
