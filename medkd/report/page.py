"""The page of a report: one file that needs no other."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from medkd import __version__
from medkd.files import atomic_path
from medkd.report import figures, provenance, tables
from medkd.report.checks_of_trust import short
from medkd.report.curves import read_curves
from medkd.report.material import Limits, Material
from medkd.report.numbers import coverage
from medkd.report.pictures import failures, pictured_seed, worst_cases
from medkd.report.verdict import Verdict, judge

__all__ = ["write_page"]

_MOST_CLASSES, _MOST_FAILURES = 8, 20


def write_page(
    material: Material, path: str | Path, *, limits: Limits | None = None, efficiency: str | Path | None = None
) -> Verdict:
    """Write the report as one HTML file, which requests nothing.

    Args:
        material: as ``read_material`` gives it.
        path: of the file.
        limits: what the verdict measures against.
        efficiency: output of ``medkd efficiency``, if it is not in the folder.

    Returns:
        The verdict.

    Raises:
        FileNotFoundError: if ``efficiency`` holds no measurements.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("medkd.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )  # fmt: skip
    content = _content(material, limits or Limits(), efficiency)
    here = Path(__file__).parent
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    text = environment.get_template("page.html.j2").render(style=style, script=script, **content)
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return content["verdict"]  # type: ignore[no-any-return]


def _content(material: Material, limits: Limits, efficiency: str | Path | None) -> dict[str, Any]:
    curves, no_curves = read_curves(material)
    measured = provenance.efficiency(material, efficiency)
    return {
        "material": material,
        "limits": limits,
        "verdict": judge(material, limits),
        "compared": _compared(material),
        **_scores(material, limits),
        **_trust(material),
        "learning": figures.learning(curves),
        "no_curves": no_curves,
        "curves": [curve for own in curves.values() for curve in own],
        "cost": tables.cost(provenance.models(material)),
        "measured": None if measured is None else tables.measured(measured),
        "differing": _differing(material),
        "files": tables.Table("SHA-256 of what was used", ["file", "digest"], provenance.files(material)),
        "versions": tables.Table("Versions", ["what", "version"], provenance.versions(curves)),
        "made": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC by medkd {__version__}",
    }


def _scores(material: Material, limits: Limits) -> dict[str, Any]:
    failed = failures(material, limits)
    return {
        "ladder": figures.ladder(material),
        "rungs": tables.rungs(material),
        "claims": tables.claims(material, limits),
        "differences": figures.differences(material),
        "classes": tables.per_class(material),
        "cases": tables.per_case(material),
        "shares": tables.per_part(material, limits),
        "case_scores": figures.case_scores(material, limits),
        "worst": worst_cases(material),
        "seed": pictured_seed(material),
        "failed": len(failed),
        "failures": [
            f"{row['case']} ({row['patient']}): {row['student']:.2f}"
            for row in failed.head(_MOST_FAILURES).to_dict("records")
        ],
    }


def _trust(material: Material) -> dict[str, Any]:
    names = list(dict.fromkeys(material.trust["class"]))[:_MOST_CLASSES]
    return {
        "trust": tables.trust(material),
        "islands": tables.false_islands(material),
        "reliability": figures.reliability(material),
        "risk_coverage": figures.risk_coverage(material),
        "coverage": coverage(material, material.student),
        "volumes": [plot for name in names if (plot := figures.bland_altman(material, name))],
    }


def _compared(material: Material) -> list[tuple[str, str]]:
    """What was compared and on what, line by line."""
    ladder, data = material.ladder, material.data
    own = material.scores[material.scores["rung"] == material.student].drop_duplicates("unit")
    parts = {"student": "Student", "teacher": "Teacher", "alone": "Student alone", "full": "Full supervision"}
    lines = [(parts[part], network) for part, network in material.shown.items()]
    lines += [
        (f"{parts[part]}", "not among what was trained")
        for part in ("teacher", "alone", "full")
        if part not in material.parts
    ]
    lines.append(("Bundle", ladder.bundle.name))
    if data is None:
        lines.append(("Data", "the datalist is not there any more"))
    else:
        counts = [
            f"{name}: {images}" + (f" of {patients} {short(ladder.groups)}" if patients else "")
            for name, (images, patients) in data.sections.items()
        ]
        lines += [
            ("Data", data.name + (" — phantoms, not patients" if data.synthetic else "")),
            ("Images", ", ".join(counts)),
        ]
    seen = int(own["seen"].sum())
    tested = f"{len(own)} test {ladder.units}, {own['patient'].nunique()} {ladder.groups}"
    lines.append(("Scored", tested if ladder.units != ladder.groups else f"{len(own)} test {ladder.units}"))
    images = f" ({data.seen} images)" if data and data.seen else ""
    lines.append(
        (
            "Overlap",
            f"{seen} of {len(own)} show a patient of training or validation{images}"
            if seen or images
            else "no test patient is known to be in training or validation",
        )
    )
    lines.append(("Seeds", ", ".join(map(str, material.seeds))))
    return lines


def _differing(material: Material) -> tables.Table | None:
    names, rows = provenance.differing(material)
    if not rows:
        return None
    return tables.Table(
        "Settings in which the rungs differ; an empty cell has the bundle's default",
        ["setting", *names],
        [[key, *values] for key, values in rows],
    )
