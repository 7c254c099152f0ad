"""What a tracked run says of itself beside its metrics: at its start, and of its student at its end."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medkd.handlers.champion import promote
from medkd.handlers.identity import log_files, log_identity
from medkd.handlers.logged_model import log_student

__all__ = ["Identified"]

_logger = logging.getLogger(__name__)

_PROMOTING = "test"  # what the metrics are called that decide on a champion: of the test section, in PyTorch


@dataclass(frozen=True)
class Identified:
    """The keys of ``identity`` in ``tracking.yaml``; what is ``None`` is not there.

    Attributes:
        dataset_dir: folder of the datalist.
        split: the section that an evaluation reads.
        student: the file that a training keeps, or an evaluation scores.
        teacher: the file that the student was distilled from, or a folder of predictions.
        bundle_dir: the folder with ``configs``, which the student's MLflow model holds.
        registered_as: the student's name in the model registry; ``None``: it is not registered.
        promoted_by: the metric of the test section that decides on the champion, without what stands before it (``mean_dice``).
    """

    dataset_dir: str | None = None
    split: str | None = None
    student: str | None = None
    teacher: str | None = None
    bundle_dir: str | None = None
    registered_as: str | None = None
    promoted_by: str | None = None

    def begin(
        self, client: Any, run_id: str, *, config_file: str | None, scored: str | None, closes: bool, anonymous: bool
    ) -> None:
        """Log what the run will read, once of all its handlers.

        Args:
            client: an ``MlflowClient``.
            run_id: of the run.
            config_file: the executed configuration.
            scored: of an evaluation, what its metrics are called.
            closes: whether this is the handler that ends the run: it logs files that an earlier stage may have made.
            anonymous: log neither names nor places of data.
        """
        if config_file and Path(config_file).is_file():
            data = {"dataset_dir": self.dataset_dir, "split": self.split if scored else None}
            log_identity(client, run_id, config_file=config_file, scored=scored, anonymous=anonymous, **data)
        if closes:
            log_files(client, run_id, {"student": self.student} if scored else {"teacher": self.teacher}, scored=scored)

    def end(self, client: Any, run_id: str, *, scored: str | None, anonymous: bool) -> None:
        """Of a training log the student; after an evaluation make it the champion, if it is. Arguments as for ``begin``."""
        if scored:
            if scored == _PROMOTING and self.promoted_by:
                promote(client, run_id, metric=f"{scored}/{self.promoted_by}", scored=scored)
            return
        log_files(client, run_id, {"student": self.student, "teacher": self.teacher})
        if self.student and not self.bundle_dir:
            _logger.warning("bundle_dir: expected a folder with configs, found none: the student is no MLflow model")
        elif self.student and self.bundle_dir:
            log_student(
                client,
                run_id,
                bundle_dir=self.bundle_dir,
                model_path=self.student,
                teacher=self.teacher,
                registered_as=self.registered_as,
                anonymous=anonymous,
            )
