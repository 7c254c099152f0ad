"""Make everything random in an epoch a function of the seed and the epoch."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.utils import set_determinism

__all__ = ["EpochSeed"]


class EpochSeed:
    """Seed Python's, NumPy's and PyTorch's global generators at the start of every epoch, and once its first batch is there.

    A training that stopped after epoch n then goes on with the very numbers of an uninterrupted one, without any
    generator's state in the checkpoint. Processes of one training get different seeds.

    Args:
        seed: the run's seed, >= 0.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._first = False

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)
        engine.add_event_handler(Events.ITERATION_STARTED, self._after_loading)

    def _after_loading(self, engine: Engine) -> None:
        """A loader whose workers stay draws a number in a process's first epoch alone: dropout would go on behind it."""
        if self._first:
            self(engine)
        self._first = False

    def __call__(self, engine: Engine) -> None:
        """Seed for ``engine.state.epoch``."""
        self._first = True
        rank = getattr(engine.state, "rank", 0)
        set_determinism(seed=(self.seed * 1_000_003 + engine.state.epoch * 101 + rank) % 2**32)
