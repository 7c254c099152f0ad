"""What a report is made of: tables of scores and of trust, and which network plays which part."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from medkd.ladder.plan import Ladder

__all__ = ["PARTS", "Cell", "Data", "Limits", "Material"]

PARTS = ("student", "teacher", "alone", "full")


@dataclass(frozen=True)
class Limits:
    """What the verdict measures against; each can be named on the command line.

    Attributes:
        margin: by how much the student may be behind teacher and full supervision, in the first score; of a pair that
            the ladder has a margin for, that one counts.
        least_dice: a case or patient with less has failed.
        most_distance: a case with a larger HD95 (of tiles: Hausdorff distance) is far off, in the unit of the table.
        overconfidence: by how much the student's confidence may exceed how often it is right.
        few: fewer test patients than this are few.
    """

    margin: float = 0.02
    least_dice: float = 0.5
    most_distance: float = 20.0
    overconfidence: float = 0.05
    few: int = 10


@dataclass(frozen=True)
class Cell:
    """One training and its evaluation.

    Attributes:
        network: what the report calls it.
        branch: of its tables.
        seed: of the training.
        folder: laid out as a bundle's root.
        minutes: of training; NaN where nobody knows.
        settings: that it was run with.
    """

    network: str
    branch: str
    seed: int
    folder: Path
    minutes: float
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Data:
    """What a datalist says.

    Attributes:
        name: of the dataset.
        digest: SHA-256 of ``datalist.json``.
        sections: for each section how many images, and how many patients (None where the datalist does not say).
        seen: how many test images show a patient of training or validation.
    """

    name: str
    digest: str
    sections: dict[str, tuple[int, int | None]]
    seen: int

    @property
    def names_patients(self) -> bool:
        """Whether it says of every image whose it is."""
        return all(patients is not None for images, patients in self.sections.values() if images)

    @property
    def synthetic(self) -> bool:
        """Whether these are phantoms."""
        return "phantom" in self.name.lower()


@dataclass(frozen=True)
class Material:
    """All that was found.

    Attributes:
        folder: of the ladder or the bundle.
        ladder: rungs, claims and margins; of a bundle's folder its two branches as rungs.
        cells: every training; of a network with two branches twice.
        parts: which network is the ``student``, the ``teacher``, the student ``alone`` and under ``full`` supervision, as far
            as there are any.
        scores: as ``medkd.ladder.table.collect`` gives them; ``rung`` is the network.
        cases: a row per network, seed, case and class: ``number``, ``case``, ``patient``, ``dice`` and, where it was computed,
            ``distance`` with its ``unit``.
        trust: ``trust.csv`` of every cell, with ``network`` and ``seed``; empty where no evaluation wrote it.
        data: of the datalist; None where it is no longer there.
        anonymous: numbers stand for the names of cases and patients.
    """

    folder: Path
    ladder: Ladder
    cells: tuple[Cell, ...]
    parts: dict[str, str]
    scores: pd.DataFrame
    cases: pd.DataFrame
    trust: pd.DataFrame
    data: Data | None
    anonymous: bool

    @property
    def student(self) -> str:
        """The network that the report is about."""
        return self.parts["student"]

    @property
    def score(self) -> str:
        """The column of the first score."""
        return next(iter(self.ladder.scores))

    @property
    def title(self) -> str:
        """Its title."""
        return self.ladder.scores[self.score]

    @property
    def seeds(self) -> list[int]:
        """Those of the student's trainings."""
        return sorted(cell.seed for cell in self.cells if cell.network == self.student)

    @property
    def shown(self) -> dict[str, str]:
        """The networks that are set side by side, each once, by part."""
        found: dict[str, str] = {}
        for part in PARTS:
            if part in self.parts and self.parts[part] not in found.values():
                found[part] = self.parts[part]
        return found

    def cell(self, network: str, seed: int) -> Cell | None:
        """The training of a network with a seed, if there is one."""
        return next((cell for cell in self.cells if (cell.network, cell.seed) == (network, seed)), None)
