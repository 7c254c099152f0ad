"""How far a training is, on the console."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from tqdm.auto import tqdm

__all__ = ["Progress"]


class Progress:
    """A bar over the whole training: epoch, mean loss of the last one, and the time that is left, validations included.

    Args:
        desc: put before it, e.g. ``stage 1``.
        loss: the metric of the loss, as ``LossTerms`` leaves it; attach this handler behind that one.
    """

    def __init__(self, desc: str = "training", loss: str = "train_loss") -> None:
        self.desc = desc
        self.loss = loss
        self._bar: Any = None

    def attach(self, engine: Engine) -> None:
        """Register with a trainer; only the first process shows it."""
        if getattr(engine.state, "rank", 0) == 0:
            engine.add_event_handler(Events.EPOCH_STARTED, self._start)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)
            engine.add_event_handler(Events.COMPLETED, self._close)

    def __call__(self, engine: Engine) -> None:
        """One step more."""
        self._bar.update(engine.state.iteration - self._bar.n)

    def _start(self, engine: Any) -> None:
        """At the first epoch: only now a resumed training knows how far it is."""
        state = engine.state
        if self._bar is None:
            total, done = state.max_epochs * state.epoch_length, state.iteration
            self._bar = tqdm(
                total=total, initial=done, desc=self.desc, smoothing=0.0
            )  # 0: the mean speed since the start
        self._bar.set_description(f"{self.desc}, epoch {state.epoch} of {state.max_epochs}")

    def _report(self, engine: Engine) -> None:
        if self.loss in engine.state.metrics:
            self._bar.set_postfix(loss=f"{engine.state.metrics[self.loss]:.4g}")

    def _close(self, engine: Engine) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
