"""What a ladder consists of: ``configs/ladder.yaml`` of a bundle, checked against its ``train.yaml``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medkd.bundle.command_line import unknown_keys
from medkd.datasets.datalist import load_datalist

__all__ = ["EVALUATED_BY", "Ladder", "load_ladder"]

EVALUATED_BY = "evaluated_by"


@dataclass(frozen=True)
class Ladder:
    """The rungs of a bundle.

    Attributes:
        bundle: the bundle's folder.
        rungs: for each rung, in order, its overrides of ``train.yaml``. One with ``evaluated_by`` is not trained; the
            configuration of that name, behind ``evaluate.yaml``, scores what is there already.
        claims: for a rung, the rungs it is said to beat.
        margins: for a rung, those to which it is said not to be inferior, and by how much it may be behind; the margin has to be
            chosen before anybody has seen results.
        branch: the branch of the network that is compared, the one that is deployed; of a rung with a ``role``, that.
        scores: the columns that are compared and their titles, the most important first; larger is better, NaN where a
            score does not apply.
        table: the file of scores that every evaluation leaves in ``eval/``.
        unit: the column of what is scored one by one and compared in pairs.
        units: what that is, for titles.
        groups: what the column ``patient`` tells apart, for titles, where the datalist does not say; units of one patient are
            not independent.
        baseline: a branch of the table that needs no training, shown as the first rung.
        recipes: configuration files behind ``train.yaml``, of every rung.
        report: what ``medkd report`` sets side by side: the rung of the ``student``, the ``teacher``, the student ``alone`` and
            under ``full`` supervision, as far as there are any.
    """

    bundle: Path
    rungs: Mapping[str, Mapping[str, Any]]
    claims: Mapping[str, Sequence[str]]
    margins: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    branch: str = "student"
    scores: Mapping[str, str] = field(default_factory=lambda: {"dice": "Dice"})
    table: str = "cases.csv"
    unit: str = "patient"
    units: str = "patients"
    groups: str = "patients"
    baseline: str | None = None
    recipes: Sequence[Path] = ()
    report: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:
        """The configuration of a training."""
        return [self.bundle / "configs" / "train.yaml", *self.recipes]

    def told_by(self, dataset_dir: str | Path) -> Ladder:
        """With a dataset's own word for what ``patient`` tells apart in it: ``"patients"`` of the datalist."""
        groups = load_datalist(dataset_dir).get("patients", self.groups)
        return replace(self, groups=groups, units=groups if self.unit == "patient" else self.units)

    def known_keys(self) -> dict[str, Any]:
        """What a rung may say."""
        from monai.bundle import ConfigParser

        known: dict[str, Any] = ConfigParser.load_config_files([str(file) for file in self.files])
        return {**known, EVALUATED_BY: None}

    def branch_of(self, rung: str) -> str:
        """What the tables of a rung call its network."""
        return str(self.rungs[rung].get("role", self.branch))

    def reads(self, rung: str) -> list[str]:
        """The rungs whose students it learns from: those whose folder beside its own an override names.

        Beside a teacher that is there already none are read.
        """
        if any(EVALUATED_BY in other for other in self.rungs.values()):
            return []
        return list(dict.fromkeys(re.findall(r"\.\./([^/]+)/seed", str(self.rungs.get(rung, {})))))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each claim: a rung, and one that it is said to beat."""
        return [(rung, other) for rung, others in self.claims.items() for other in others]

    @property
    def bounds(self) -> dict[tuple[str, str], float]:
        """Each claim of non-inferiority: a rung and another, and the margin."""
        return {(rung, other): delta for rung, others in self.margins.items() for other, delta in others.items()}

    @property
    def lines(self) -> list[str]:
        """The lines of the result: the baseline, if there is one, and the rungs."""
        return [*([self.baseline] if self.baseline else []), *self.rungs]


def load_ladder(
    bundle: str | Path, rungs: Sequence[str] | None = None, *, recipes: Sequence[str | Path] = ()
) -> Ladder:
    """Read the ladder of a bundle.

    Args:
        bundle: the bundle's folder.
        rungs: names of the rungs to keep, or the name of one of the file's ``selections``; ``None`` for the selection
            ``default``, or for all where there is none.
        recipes: configuration files behind ``train.yaml``, of every rung.

    Raises:
        FileNotFoundError: if the bundle has no ladder, or there is no such recipe.
        ValueError: for unknown rungs, or overrides that ``train.yaml`` has no key for, all at once.
    """
    from monai.bundle import ConfigParser

    bundle = Path(bundle).resolve()
    path = bundle / "configs" / "ladder.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected the rungs of a bundle, found nothing there")
    content = ConfigParser.load_config_file(path)
    files = [Path(recipe).resolve() for recipe in recipes]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{file}: expected a recipe, a configuration file; found nothing there")
    known = Ladder(bundle, {}, {}, recipes=files).known_keys()
    every: dict[str, Any] = {name: dict(overrides or {}) for name, overrides in content["rungs"].items()}
    chosen = _selected(list(every), content.get("selections", {}), rungs)
    groups = ", ".join(content.get("selections", {}))
    problems = [
        f"unknown rung {name!r}; there are {', '.join(every)}{f', and the selections {groups}' if groups else ''}"
        for name in chosen
        if name not in every
    ]
    for name, overrides in every.items():
        problems += [f"rung {name!r}: {problem}" for problem in unknown_keys(overrides, known)]
    claims, margins = content.get("claims", {}), content.get("margins", {})
    named = {name for kind in (claims, margins) for rung, others in kind.items() for name in (rung, *others)}
    strange = sorted(named - {*every, content.get("baseline")})
    problems += [f"claim of an unknown rung {name!r}; there are {', '.join(every)}" for name in strange]
    problems += [
        f"margin of {rung!r} to {other!r}: expected a number > 0, found {delta!r}"
        for rung, others in margins.items()
        for other, delta in others.items()
        if type(delta) not in (int, float) or not delta > 0
    ]
    problems += [
        f"report: {part}: expected a rung ({', '.join(every)}), found {rung!r}"
        for part, rung in content.get("report", {}).items()
        if rung not in every
    ]
    if problems:
        raise ValueError(f"{path}: " + "; ".join(problems))
    names = ("scores", "table", "unit", "units", "groups", "baseline", "report")
    settings = {key: content[key] for key in names if key in content}
    ladder = Ladder(bundle, {name: every[name] for name in chosen}, {}, recipes=files, **settings)
    claims = {
        rung: [other for other in others if other in ladder.lines] for rung, others in claims.items() if rung in chosen
    }
    margins = {
        rung: {other: float(delta) for other, delta in others.items() if other in ladder.lines}
        for rung, others in margins.items()
        if rung in chosen
    }
    return replace(ladder, claims=claims, margins=margins)


def _selected(every: list[str], selections: Mapping[str, list[str]], wanted: Sequence[str] | None) -> list[str]:
    if not wanted:
        return list(selections.get("default", every))
    if len(wanted) == 1 and wanted[0] in selections:
        return list(selections[wanted[0]])
    return list(wanted)
