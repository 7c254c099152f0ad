"""``medkd ladder``: run a bundle's ablation ladder."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "run a bundle's ablation ladder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bundle, the data, and what is varied."""
    parser.add_argument("bundle", help="the bundle's folder")
    parser.add_argument("--dataset_dir", required=True, help="output of `medkd data …`")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rungs", nargs="+", default=None, help="rungs, or the name of a selection (default: all)")
    parser.add_argument("--output_dir", default=None, help="results (default: BUNDLE/ladder)")
    parser.add_argument("--recipe", nargs="+", default=[], metavar="FILE", help="configurations behind train.yaml")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings at once, side by side (default: 1)")
    add_overrides(parser)
    parser.set_defaults(run=_run)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """``--set``, of every verb that runs a ladder."""
    parser.add_argument(
        "--set",
        nargs="*",
        action="extend",
        default=[],
        metavar="[RUNG:]KEY=VALUE",
        help="overrides of train.yaml for all rungs or one, VALUE in YAML",
    )


def _run(options: argparse.Namespace) -> None:
    from medkd.ladder import load_ladder, overridden, render, run_ladder, where_to_look
    from medkd.report import report_of

    ladder, shared = overridden(load_ladder(options.bundle, options.rungs, recipes=options.recipe), options.set)
    output = Path(options.output_dir or Path(options.bundle) / "ladder")
    how = {"seeds": options.seeds, "overrides": shared, "jobs": options.jobs, "report": report_of}
    scores = run_ladder(ladder, output, dataset_dir=options.dataset_dir, **how)
    print(render(ladder.told_by(options.dataset_dir), scores))
    command, page = where_to_look(output.resolve())
    report = output / "report.html"
    print(f"\nReport: {report}" if report.is_file() else "")
    print(f"Tables and plot: {output}")
    print(f"MLflow UI: {command}\n           {page}" if command else f"MLflow UI: {page}")
