"""``medkd report``: one page that says whether to deploy a student."""

from __future__ import annotations

import argparse
import tempfile

HELP = "write a page that says whether to deploy a student"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The results, the page, and what the verdict measures against."""
    parser.add_argument(
        "results", help="folder of a ladder, or of a bundle that was trained and evaluated; or runs:/ID of MLflow"
    )
    parser.add_argument("--output", default="report.html", help="HTML file to write")
    parser.add_argument(
        "--bundle", default=None, help="the bundle, if it is neither around the ladder nor one of medkd's"
    )
    parser.add_argument("--dataset_dir", default=None, help="the prepared dataset, if it has moved")
    parser.add_argument("--efficiency", default=None, help="output of `medkd efficiency`, if it is not in the folder")
    for part, said in _PARTS.items():
        parser.add_argument(f"--{part}", default=None, metavar="RUNG", help=said)
    for limit, (default, said) in _LIMITS.items():
        parser.add_argument(f"--{limit}", type=float, default=default, help=said)
    parser.add_argument("--anonymous", action="store_true", help="numbers instead of the names of cases and patients")
    parser.set_defaults(run=_run)


_PARTS = {
    "student": "rung that may be deployed (default: as ladder.yaml says)",
    "teacher": "rung that it stands in for",
    "alone": "rung of the same student without distillation",
    "full": "rung with all labels",
}
_LIMITS = {  # those of medkd.report.Limits, which is slow to import
    "margin": (0.02, "by how much the student may be behind, where the ladder says nothing"),
    "least_dice": (0.5, "a case or patient with less has failed"),
    "most_distance": (20.0, "a case with a larger HD95 is far off; in mm, or in pixels"),
    "overconfidence": (0.05, "by how much confidence may exceed being right"),
    "few": (10, "fewer test patients than this are few"),
}


def _run(options: argparse.Namespace) -> None:
    from medkd.report import Limits, read_material, write_page
    from medkd.report.download import download, is_run

    parts = {part: rung for part in _PARTS if (rung := getattr(options, part))}
    places = {name: getattr(options, name) for name in ("bundle", "dataset_dir", "anonymous")}
    limits = Limits(**{name: getattr(options, name) for name in _LIMITS})
    with tempfile.TemporaryDirectory(prefix="medkd-report-") as kept:
        found = download(options.results, kept) if is_run(options.results) else options.results
        material = read_material(found, parts=parts, **places)
        verdict = write_page(material, options.output, limits=limits, efficiency=options.efficiency)
    print("\n".join(verdict.sentences))
    print(f"Report: {options.output}")
