"""Keep the best student, and load one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from medkd.bundle.runtimes import load_student
from medkd.files import atomic_path
from medkd.networks.checkpoints import write_checkpoint

__all__ = ["BestModel", "FinalModel", "ModelLoader"]

_logger = logging.getLogger(__name__)


class BestModel:
    """Write ``{"model": state_dict, "settings": …, "run": …, "epoch": …}`` whenever the evaluator's key metric is better than ever before.

    MONAI's ``CheckpointSaver`` writes in place, and forgets the best value when a training is resumed. Here the file is
    replaced atomically, and "better" is the evaluator's own ``best_metric_epoch``, which ``TrainingState`` keeps.

    Args:
        path: the file, normally ``models/model.pt`` of the bundle.
        network: the student; what DDP wraps is saved.
        settings: what inference needs to know of it (``medkd.bundle.student_settings``). Of these, what the evaluator has
            measured under the same name (``state.metrics``, a calibrated ``threshold``) takes the measured value.
        run: name of the training's run in MLflow, which an evaluation of this student goes on with.
    """

    def __init__(
        self, path: str, network: nn.Module, *, settings: Mapping[str, Any] | None = None, run: str | None = None
    ) -> None:
        self.path = Path(path)
        self.network = network
        self.settings = dict(settings or {})
        self.run = run

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator that has a key metric."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        """Save, if this epoch is the best; only the first process writes."""
        if getattr(engine.state, "rank", 0) == 0 and engine.state.best_metric_epoch == engine.state.epoch:
            measured = {key: float(value) for key, value in engine.state.metrics.items() if key in self.settings}
            _save(self.path, self.network, {**self.settings, **measured}, self.run, engine.state.epoch)


class FinalModel:
    """Write the network as it is when a training ends of which no epoch was validated: there is no best one.

    Args:
        path: the file that ``BestModel`` writes otherwise.
        network: the student; what DDP wraps is saved.
        evaluator: what validates it.
        settings: as for ``BestModel``.
        run: as for ``BestModel``.
    """

    def __init__(
        self,
        path: str,
        network: nn.Module,
        evaluator: Any,
        *,
        settings: Mapping[str, Any] | None = None,
        run: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.network = network
        self.evaluator = evaluator
        self.settings = dict(settings or {})
        self.run = run

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        """Save, if nothing was validated; only the first process writes."""
        if getattr(engine.state, "rank", 0) == 0 and self.evaluator.state.best_metric_epoch < 1:
            _logger.info("No epoch was validated: the last network is kept as %s.", self.path)
            _save(self.path, self.network, self.settings, self.run, engine.state.epoch)


def _save(path: Path, network: nn.Module, settings: Mapping[str, Any], run: str | None, epoch: int) -> None:
    """In one file, so that weights and settings are never those of two trainings."""
    unknown = [key for key, value in settings.items() if value == "auto"]
    for key in unknown:
        _logger.warning("%s: expected a validation to calibrate it, found none: %s does not keep it.", key, path)
    settings = {key: value for key, value in settings.items() if key not in unknown}
    with atomic_path(path) as partial:
        weights = _deployed(network).state_dict()
        write_checkpoint({"model": weights, "settings": settings, "run": run, "epoch": epoch}, partial)


def _deployed(network: nn.Module) -> nn.Module:
    """What DDP, a peer or ``FeatureNetwork`` wraps, and what is wrapped in that."""
    inner = getattr(network, "module", None)
    return _deployed(inner) if isinstance(inner, nn.Module) else network


class ModelLoader:
    """Load a student before a run starts; a file that does not fit fails loudly.

    Args:
        path: a file with ``{"model": state_dict}``.
        network: the network to fill; of one that was exported it is made sure that it is of this student.
    """

    def __init__(self, path: str, network: nn.Module) -> None:
        self.path = path
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Register with any engine."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Load; see ``medkd.bundle.load_student``."""
        load_student(self.path, _deployed(self.network))
