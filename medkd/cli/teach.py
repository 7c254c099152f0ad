"""``medkd teach``: a teacher's predictions of every image of a datalist."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from medkd.cli.workers import add_workers, shared_out

if TYPE_CHECKING:
    from medkd.teaching import TeachReport

HELP = "write a teacher's predictions of a datalist's images, for a student to learn from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Who teaches, what on, and where to."""
    parser.add_argument(
        "teacher",
        nargs="+",
        help="folder of a MONAI bundle, or a configuration of an exported network; several are averaged",
    )
    parser.add_argument("datalist", help="datalist.json or its folder")
    parser.add_argument("output", help="folder to make, or to go on in")
    parser.add_argument("--trust", action="store_true", help="run the code that stands in the teachers' configurations")
    parser.add_argument(
        "--sections", nargs="+", default=["training", "validation", "test"], help="of the datalist to predict"
    )
    parser.add_argument(
        "--activation",
        choices=["softmax", "sigmoid", "none"],
        default=None,
        help="of the network's output (default: what the configuration has)",
    )
    parser.add_argument("--device", default=None, help="of the network (default: the GPU, if there is one)")
    add_workers(parser, "this one alone")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    alone = options.workers is None and options.scheduler is None
    report = _here(options) if alone else _shared_out(options)
    print(f"Written:  {report.written} predictions; {report.kept} were there")
    kept = f", probabilities to {report.error:.2g}" if report.written else ""
    print(f"Folder:   {options.output} ({report.bytes / 2**20:.2f} MiB{kept})")


def _here(options: argparse.Namespace) -> TeachReport:
    import torch

    from medkd.teaching import load_teacher, teach

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    settings = {"trust": options.trust, "device": device, "activation": options.activation}
    teachers = [load_teacher(path, **settings) for path in options.teacher]
    return teach(teachers, options.datalist, options.output, sections=options.sections, progress=True)


def _shared_out(options: argparse.Namespace) -> TeachReport:
    from medkd.collection.teachers import TravellingTeacher
    from medkd.teaching import teach

    settings = {"trust": options.trust, "device": options.device, "activation": options.activation}
    teachers = [TravellingTeacher.of(path, **settings) for path in options.teacher]
    with shared_out(options, options.output) as run:
        return teach(teachers, options.datalist, options.output, sections=options.sections, run=run)
