"""Stop and continue: the whole state of a training, saved every epoch and restored exactly."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from medkd.files import atomic_path, sha256
from medkd.folder_lock import lock, unlock
from medkd.networks.checkpoints import read_checkpoint, write_checkpoint

__all__ = ["TrainingState"]

_logger = logging.getLogger(__name__)


class TrainingState:
    """Save the objects of a training after every epoch, and restore the newest sound save on demand.

    A save is ``epoch=0007.pt`` with its SHA-256 in ``epoch=0007.pt.sha256``, written atomically; the last ``keep``
    are kept. A save that is damaged is passed over for the one before, with a warning. Of the engines the epoch, the
    iteration, the best metric and what their ``state_dict_user_keys`` name are kept; of everything else its
    ``state_dict``.

    A training may go on in another number of processes: where their batches come to as many images as before, what is drawn is what
    would have been drawn; else a warning says so.

    One training at a time: the folder is locked (``.lock``) until it completes, or its process ends however it does.

    Attach it last, so that an epoch is saved when all of it is done.

    Args:
        save_dir: the folder of the saves.
        objects: named objects with ``state_dict`` and ``load_state_dict``: networks, optimiser, scheduler.
        evaluators: engines whose best metric belongs to the state, by name.
        resume: restore when training starts; with no save there it starts from the beginning.
        keep: number of saves to keep, >= 1.

    Raises:
        RuntimeError: when training starts, if another process trains there; with ``resume``, if a save does not fit the objects, or is that of a training
            of another length: the schedules of the learning rate and of the loss weights depend on it.
    """

    def __init__(
        self,
        save_dir: str,
        objects: Mapping[str, Any],
        *,
        evaluators: Mapping[str, Any] | None = None,
        resume: bool = False,
        keep: int = 2,
    ) -> None:
        self.save_dir = Path(save_dir)
        self.objects = dict(objects)
        self.evaluators = dict(evaluators or {})
        self.resume = resume
        self.keep = max(1, keep)

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.STARTED, self._lock)
        engine.add_event_handler(Events.STARTED, self._restore)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._unlock)

    def __call__(self, engine: Any) -> None:
        """Save; only the first process writes."""
        if getattr(engine.state, "rank", 0) > 0:
            return
        state = {name: _module(item).state_dict() for name, item in self.objects.items()}
        state["max_epochs"] = int(engine.state.max_epochs)
        state["images_per_step"] = _images_per_step(engine)
        state["engines"] = {name: _progress(e) for name, e in {"trainer": engine, **self.evaluators}.items()}
        if engine.scaler is not None:
            state["scaler"] = engine.scaler.state_dict()
        path = self.save_dir / f"epoch={engine.state.epoch:04d}.pt"
        with atomic_path(path) as partial:
            write_checkpoint(state, partial)
            digest = sha256(partial)
        with atomic_path(_digest_file(path)) as partial:
            partial.write_text(digest + "\n", encoding="ascii")
        for old in self._saves()[: -self.keep]:
            _digest_file(old).unlink(missing_ok=True)
            old.unlink(missing_ok=True)

    def _lock(self, engine: Any) -> None:
        if getattr(engine.state, "rank", 0) == 0:
            lock(self.save_dir)

    def _unlock(self, engine: Any) -> None:
        unlock(self.save_dir)

    def _restore(self, engine: Any) -> None:
        """At the start: continue from the newest sound save, or clear the saves of an earlier training."""
        if not self.resume:
            if getattr(engine.state, "rank", 0) == 0:
                for old in self._saves():
                    _digest_file(old).unlink(missing_ok=True)
                    old.unlink()
            return
        path = self._newest_sound()
        if path is None:
            _logger.info("Nothing to resume in %s; training starts from the beginning.", self.save_dir)
            return
        state = read_checkpoint(path, device=engine.state.device)
        found, wanted = state.get("max_epochs"), engine.state.max_epochs
        if found != wanted:
            raise RuntimeError(
                f"{path}: expected the state of a training of {wanted} epochs, found one of {found}; go on with "
                f"max_epochs {found}, or start anew from its best student"
            )
        before, now = state.get("images_per_step"), _images_per_step(engine)
        if before and now and before != now:
            _logger.warning(
                "%s was saved by a training of %d images per step over all its processes; it goes on with %d, which is another "
                "training: set the batch size to %d / (number of processes) to go on as before",
                path, before, now, before,
            )  # fmt: skip
        try:
            for name, item in self.objects.items():
                _module(item).load_state_dict(state[name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise RuntimeError(f"{path}: expected the state of this training, found another's: {error}") from error
        for name, target in {"trainer": engine, **self.evaluators}.items():
            for key, value in state["engines"][name].items():
                setattr(target.state, key, value)
        if engine.scaler is not None and "scaler" in state:
            engine.scaler.load_state_dict(state["scaler"])
        _logger.info("Resumed after epoch %d from %s.", engine.state.epoch, path)

    def _saves(self) -> list[Path]:
        return sorted(self.save_dir.glob("epoch=*.pt"))

    def _newest_sound(self) -> Path | None:
        for path in reversed(self._saves()):
            digest = _digest_file(path)
            if digest.exists() and digest.read_text(encoding="ascii").strip() == sha256(path):
                return path
            _logger.warning("%s is damaged or incomplete; trying the save before it.", path)
        return None


def _progress(engine: Any) -> dict[str, Any]:
    """What of an engine's state must survive."""
    state = engine.state
    metric = float(state.best_metric)
    return {
        "epoch": int(state.epoch),
        "iteration": int(state.iteration),
        "best_metric": metric,
        "best_metric_epoch": int(state.best_metric_epoch),
        **{key: getattr(state, key) for key in engine.state_dict_user_keys},
    }


def _images_per_step(engine: Any) -> int | None:
    """Over all processes; ``None`` where the data do not say."""
    sampler = getattr(engine.data_loader, "batch_sampler", None)
    size = getattr(sampler, "batch_size", None)
    return int(size) * int(getattr(sampler, "num_replicas", 1)) if size else None


def _module(item: Any) -> Any:
    """What DDP wraps, or the item itself."""
    return item.module if isinstance(item, torch.nn.parallel.DistributedDataParallel) else item


def _digest_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
