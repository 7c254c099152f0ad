"""Dynamic role reversal (IKD-MIL, arXiv 2407.10274): a student that outgrew its teacher becomes the teacher."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, EventEnum, Events
from torch import nn

from medkd.networks.checkpoints import load_model

__all__ = ["RoleEvents", "RoleSwitch"]

_logger = logging.getLogger(__name__)


class RoleEvents(EventEnum):
    """Fired by the trainer after each decision; ``engine.state.role_decisions[-1]`` tells the reason."""

    ROLES_SWITCHED = "roles_switched"
    ROLES_KEPT = "roles_kept"


class RoleSwitch:
    """At set epochs the teacher takes the best student so far, and the student goes on from the old teacher's weights.

    That happens only if that student is better than the teacher by the evaluators' key metric. The teacher is scored once,
    before the first epoch; a student that takes its place brings its own score along. The optimiser stays with the
    role of the student: its moments go on, with the old teacher's weights.

    Every decision is a record of ``engine.state.role_decisions`` (``epoch``, ``switched``, ``student_score``,
    ``teacher_score``, ``reason``), a line of the log, an event of ``RoleEvents``, and the metrics ``role_switch`` (0 or 1),
    ``role_student_score`` and ``role_teacher_score`` of that epoch. ``TrainingState`` keeps the records.

    Args:
        network: the student; what DDP wraps is meant.
        teacher: the teacher, of the same architecture.
        epochs: after which epochs to decide; none for no role reversal.
        best_path: where ``BestModel`` keeps the best student.
        evaluator: validates the student; has a key metric.
        teacher_evaluator: validates the teacher on the same data by the same metric.

    Raises:
        ValueError: for an epoch below 1.
    """

    def __init__(
        self,
        network: nn.Module,
        teacher: nn.Module,
        *,
        epochs: Sequence[int],
        best_path: str,
        evaluator: Any,
        teacher_evaluator: Any,
    ) -> None:
        if any(epoch < 1 for epoch in epochs):
            raise ValueError(f"expected epochs >= 1 to switch roles after, got {list(epochs)}")
        self.network, self.teacher = getattr(network, "module", network), teacher
        self.epochs = sorted(set(epochs))
        self.best_path = Path(best_path)
        self.evaluator, self.teacher_evaluator = evaluator, teacher_evaluator

    def attach(self, engine: Any) -> None:
        """Register with a trainer, after its validation and before ``TrainingState``."""
        if not self.epochs:
            return
        engine.register_events(*RoleEvents)
        engine.state_dict_user_keys.extend(["role_decisions", "role_teacher_score"])
        engine.state.role_decisions, engine.state.role_teacher_score = [], None
        engine.add_event_handler(Events.STARTED, self._check)
        engine.add_event_handler(Events.EPOCH_STARTED, self._score_teacher)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        """Decide, if this is one of the epochs."""
        if engine.state.epoch not in self.epochs:
            return
        student, teacher = float(self.evaluator.state.best_metric), float(engine.state.role_teacher_score)
        best_epoch = int(self.evaluator.state.best_metric_epoch)
        switched = best_epoch > 0 and bool(self.evaluator.metric_cmp_fn(student, teacher))
        if best_epoch < 1:
            reason = "no student has been validated yet"
        else:
            verdict = "is better than" if switched else "is not better than"
            reason = f"the best student (epoch {best_epoch}, {student:.4f}) {verdict} the teacher ({teacher:.4f})"
        if switched:
            self._switch()
            engine.state.role_teacher_score = student
        self._record(engine, switched, student, teacher, reason)

    def _switch(self) -> None:
        old = deepcopy(self.teacher.state_dict())
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()  # the first process wrote the file
        load_model(self.best_path, self.teacher)
        self.network.load_state_dict(old)

    def _record(self, engine: Any, switched: bool, student: float, teacher: float, reason: str) -> None:
        epoch = int(engine.state.epoch)
        record = {"epoch": epoch, "switched": switched, "student_score": student, "teacher_score": teacher}
        engine.state.role_decisions.append({**record, "reason": reason})
        scores = {"role_student_score": student, "role_teacher_score": teacher}
        engine.state.metrics.update({"role_switch": float(switched), **scores})
        _logger.info("Epoch %d: roles %s: %s.", epoch, "switched" if switched else "kept", reason)
        engine.fire_event(RoleEvents.ROLES_SWITCHED if switched else RoleEvents.ROLES_KEPT)

    def _score_teacher(self, engine: Any) -> None:
        """Once, unless a resumed state knows the score; then clear the last decision's metrics."""
        for name in ("role_switch", "role_student_score", "role_teacher_score"):
            engine.state.metrics.pop(name, None)
        if engine.state.role_teacher_score is None:
            self.teacher_evaluator.run()
            engine.state.role_teacher_score = float(self.teacher_evaluator.state.metrics[self._metric])

    @property
    def _metric(self) -> str:
        return str(self.teacher_evaluator.state.key_metric_name)

    def _check(self, engine: Engine) -> None:
        """A server may train for fewer epochs than the configuration's: no error, but no secret either."""
        late = [epoch for epoch in self.epochs if engine.state.max_epochs and epoch > engine.state.max_epochs]
        if late:
            _logger.warning("The training ends before epochs %s, when roles would be decided.", late)
