"""From the folder of a ladder, or of a bundle that was trained and evaluated, to what a report is made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from medkd.bundle import bundle_names, bundle_path
from medkd.ladder.cost import kept_minutes
from medkd.ladder.plan import Ladder, load_ladder
from medkd.ladder.table import cell_dir, per_unit
from medkd.report.cases import read_cases, read_trust, without_names
from medkd.report.data import read_data
from medkd.report.material import PARTS, Cell, Material

__all__ = ["read_material"]


def read_material(
    folder: str | Path,
    *,
    bundle: str | Path | None = None,
    dataset_dir: str | Path | None = None,
    parts: Mapping[str, str] | None = None,
    anonymous: bool = False,
) -> Material:
    """Read the folder of a ladder, or that of a bundle with ``eval/cases.csv`` in it.

    Args:
        folder: output of ``medkd ladder``, or a bundle's root.
        bundle: the bundle's folder; by default the one that the ladder lies in, or the one that medkd ships under its name.
        dataset_dir: the prepared dataset; by default the one that the settings name.
        parts: which rung is the ``student``, the ``teacher``, the student ``alone`` or under ``full`` supervision; by default
            what ``report`` in ``ladder.yaml`` says.
        anonymous: show numbers instead of names, as for evaluations with ``anonymous_cases``.

    Raises:
        FileNotFoundError: if there is no such folder, nothing there was evaluated, or the bundle is not found.
        ValueError: for a part that no rung has.
    """
    root = Path(folder).resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: expected the folder of a ladder or of a bundle, found no folder")
    mark = root / "settings.json"
    settings = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else {}
    found = (
        _ladder(root, settings, bundle) if "bundle" in settings else _single(root, bundle)
    )  # a rung has such a file too
    ladder, cells, shared = found
    chosen = _parts(ladder, cells, parts or {})
    cells = [*cells, *_branches(ladder, cells, chosen)]
    cases = pd.concat([read_cases(cell) for cell in cells], ignore_index=True)
    trust = pd.concat([read_trust(cell, cases) for cell in cells], ignore_index=True)
    data = read_data(dataset_dir or shared.get("dataset_dir"))
    hidden = anonymous or (not trust.empty and bool(trust["case"].str.fullmatch(r"case \d+").all()))
    material = Material(root, _told(ladder, data), tuple(cells), chosen, _scores(root, ladder, cells), cases, trust,
                        data[0] if data else None, hidden)  # fmt: skip
    return without_names(material) if hidden else material


def _ladder(
    root: Path, settings: Mapping[str, Any], bundle: str | Path | None
) -> tuple[Ladder, list[Cell], dict[str, Any]]:
    place = _bundle(root, str(settings["bundle"]), bundle)
    every = load_ladder(place, list(_rungs(place)))
    seeds = {rung: _seeds(root, rung, every.table) for rung in every.rungs}
    ladder = load_ladder(place, [rung for rung, own in seeds.items() if own]) if any(seeds.values()) else every
    cells = [_cell(root, ladder, rung, seed) for rung in ladder.rungs for seed in seeds[rung]]
    if not cells:
        raise FileNotFoundError(f"{root}: expected RUNG/seedN/eval/{every.table} of `medkd ladder`, found none")
    return ladder, cells, dict(settings.get("overrides", {}))


def _rungs(place: Path) -> list[str]:
    from monai.bundle import ConfigParser

    return list(ConfigParser.load_config_file(place / "configs" / "ladder.yaml")["rungs"])


def _bundle(root: Path, name: str, given: str | Path | None) -> Path:
    places = [Path(given)] if given else [root.parent, *([bundle_path(name)] if name in bundle_names() else [])]
    for place in places:
        if (place / "configs" / "ladder.yaml").is_file() and (given or place.resolve().name == name):
            return place.resolve()
    raise FileNotFoundError(
        f"{root}: expected the bundle {name!r} around it or among medkd's, found neither; name it: --bundle"
    )


def _seeds(root: Path, rung: str, table: str) -> list[int]:
    found = (path.parents[1].name for path in (root / rung).glob(f"seed*/eval/{table}"))
    return sorted(int(name.removeprefix("seed")) for name in found if name.removeprefix("seed").isdigit())


def _cell(root: Path, ladder: Ladder, rung: str, seed: int) -> Cell:
    folder = cell_dir(root, rung, seed)
    mark = folder / "settings.json"
    settings = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else {}
    return Cell(rung, ladder.branch_of(rung), seed, folder, kept_minutes(folder), settings)


def _single(root: Path, bundle: str | Path | None) -> tuple[Ladder, list[Cell], dict[str, Any]]:
    """A bundle's own evaluation: the branches of its table are the networks."""
    place = Path(bundle or root).resolve()
    ladder = replace(load_ladder(place), rungs={}, claims={}, margins={}, baseline=None, report={})
    table = root / "eval" / ladder.table
    if not table.is_file():
        raise FileNotFoundError(
            f"{root}: expected the folder of a ladder (settings.json), or of a bundle that was evaluated "
            f"(eval/{ladder.table}, which evaluate.yaml writes), found neither"
        )
    branches = [name for name in pd.read_csv(table)["branch"].unique() if name in {"student", "teacher"}]
    rungs = {name: {"role": name} for name in branches}
    config = _newest_config(root)
    cells = [Cell(name, name, int(config.get("seed", 0)), root, kept_minutes(root), {}) for name in branches]
    return replace(ladder, rungs=rungs), cells, config


def _newest_config(root: Path) -> dict[str, Any]:
    """The top level of the configuration that was executed last, where tracking kept it."""
    files = sorted((root / "eval").glob("config_*.json"))
    content = json.loads(files[-1].read_text(encoding="utf-8")) if files else {}
    return {
        key: content[key] for key in ("dataset_dir", "seed") if not str(content.get(key, "$")).startswith(("$", "@"))
    }


def _parts(ladder: Ladder, cells: Iterable[Cell], given: Mapping[str, str]) -> dict[str, str]:
    """The given ones, those of ``ladder.yaml``, or what can be told: who claims something is the student."""
    names = list(dict.fromkeys(cell.network for cell in cells))
    if strange := {part: rung for part, rung in given.items() if rung not in names}:
        raise ValueError(
            ", ".join(
                f"--{part}: {rung!r} is no rung of this ladder ({', '.join(names)})" for part, rung in strange.items()
            )
        )
    told = {part: rung for part, rung in ladder.report.items() if part in PARTS and rung in names}
    free = [name for name in names if ladder.rungs[name].get("role", "student") != "teacher"]
    claiming = [name for name in free if ladder.claims.get(name)]
    student = given.get("student") or told.get("student") or next(iter([*claiming, *reversed(free), *names]))
    parts = {**told, "student": student, **given}
    teacher = next((name for name in names if ladder.rungs[name].get("role") == "teacher" and name != student), None)
    others = [name for name in ladder.claims.get(student, []) if name in free and name != student]
    parts |= {"teacher": teacher} if teacher and "teacher" not in parts else {}
    # Where the bundle says which rung is the student alone, another one that was trained in its place is not.
    parts |= {"alone": others[0]} if others and "alone" not in parts and "alone" not in ladder.report else {}
    return {part: parts[part] for part in PARTS if part in parts and (part == "student" or parts[part] != student)}


def _branches(ladder: Ladder, cells: Iterable[Cell], parts: dict[str, str]) -> list[Cell]:
    """The teacher that a student has learnt beside: the other branch of its own tables."""
    if "teacher" in parts:
        return []
    own = [cell for cell in cells if cell.network == parts["student"] and cell.branch == "student"]
    there = [cell for cell in own if "teacher" in set(pd.read_csv(cell.folder / "eval" / "cases.csv")["branch"])]
    if there:
        parts["teacher"] = f"{parts['student']}, its teacher"
    return [replace(cell, network=parts["teacher"], branch="teacher") for cell in there]


def _scores(root: Path, ladder: Ladder, cells: Iterable[Cell]) -> pd.DataFrame:
    """As the ladder collects them, of every network."""
    tables = []
    for cell in cells:
        cases = pd.read_csv(cell.folder / "eval" / ladder.table, dtype={"patient": str})
        own = per_unit(ladder, cases, cell.branch)
        tables.append(own.assign(rung=cell.network, seed=cell.seed, minutes=cell.minutes))
        if ladder.baseline and cell.network == next(iter(ladder.rungs)):
            tables.append(
                per_unit(ladder, cases, ladder.baseline).assign(rung=ladder.baseline, seed=cell.seed, minutes=0.0)
            )
    scores = pd.concat(tables, ignore_index=True)
    kept = root / "patients.csv"
    marked = pd.read_csv(kept, dtype={"patient": str}) if kept.is_file() else pd.DataFrame({"seen": [], "patient": []})
    seen = set(marked.loc[marked["seen"].astype(bool), "patient"]) if "seen" in marked else set()
    complete: pd.DataFrame = scores.assign(seen=scores["patient"].isin(seen))
    return complete


def _told(ladder: Ladder, data: Any) -> Ladder:
    """With the dataset's own word for what ``patient`` tells apart."""
    groups = data[1] if data else ladder.groups
    return replace(ladder, groups=groups, units=groups if ladder.unit == "patient" else ladder.units)
