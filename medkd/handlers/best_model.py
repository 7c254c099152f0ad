"""Keep the best student, and load one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from medkd.files import atomic_path
from medkd.networks.checkpoints import load_model

__all__ = ["BestModel", "ModelLoader"]


class BestModel:
    """Write ``{"model": state_dict}`` whenever the evaluator's key metric is better than ever before.

    MONAI's ``CheckpointSaver`` writes in place, and forgets the best value when a training is resumed. Here the file is
    replaced atomically, and "better" is the evaluator's own ``best_metric_epoch``, which ``TrainingState`` keeps.

    Args:
        path: the file, normally ``models/model.pt`` of the bundle.
        network: the student; what DDP wraps is saved.
    """

    def __init__(self, path: str, network: nn.Module) -> None:
        self.path = Path(path)
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator that has a key metric."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        """Save, if this epoch is the best; only the first process writes."""
        if getattr(engine.state, "rank", 0) > 0 or engine.state.best_metric_epoch != engine.state.epoch:
            return
        network = getattr(self.network, "module", self.network)
        with atomic_path(self.path) as partial:
            torch.save({"model": network.state_dict()}, partial)


class ModelLoader:
    """Load a student before a run starts; a file that does not fit fails loudly.

    Args:
        path: a file with ``{"model": state_dict}``.
        network: the network to fill.
    """

    def __init__(self, path: str, network: nn.Module) -> None:
        self.path = path
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Register with any engine."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Load; see ``medkd.networks.checkpoints.load_model``."""
        load_model(self.path, getattr(self.network, "module", self.network))
