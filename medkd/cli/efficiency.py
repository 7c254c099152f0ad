"""``medkd efficiency``: what networks cost to run, side by side."""

from __future__ import annotations

import argparse

HELP = "compare time, memory and size of students, teachers and what was exported of them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The networks, the images, and how to measure."""
    parser.add_argument(
        "networks",
        nargs="+",
        metavar="BUNDLE",
        help="folder of a bundle, or BUNDLE=FILE with other weights, a teacher's for example; the first is what others are compared to",
    )
    parser.add_argument("--images", required=True, help="image or folder, as inference takes it")
    parser.add_argument(
        "--runtimes",
        nargs="+",
        default=[],
        metavar="RUNTIME",
        help="pytorch, onnx, openvino:int8, … (default: PyTorch and all that was exported)",
    )
    parser.add_argument("--dataset_dir", default=None, help="a datalist, whose validation images give the accuracy")
    parser.add_argument("--threads", type=int, default=1, help="of each process (default: 1)")
    parser.add_argument("--rounds", type=int, default=1, help="how often each case is run (default: 1)")
    parser.add_argument("--limit", type=int, default=None, help="of cases (default: all)")
    parser.add_argument("--output_dir", default="efficiency", help="folder for measured.csv, table.md and pareto.png")
    parser.add_argument("--tracking_uri", default=None, help="MLflow store to log them to")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from functools import partial
    from pathlib import Path

    from medkd.efficiency import candidates, compare
    from medkd.efficiency.results import check_place, log, write, write_so_far

    folder = Path(options.output_dir)
    check_place(folder)
    given = {name: getattr(options, name) for name in ("threads", "rounds", "limit", "dataset_dir")}
    given["keep"] = partial(write_so_far, folder=folder)
    measured = compare(candidates(options.networks, options.runtimes), options.images, **given, tell=print)
    print(f"\n{write(measured, folder)}\n")
    print(f"Written:  {folder.resolve()}")
    if options.tracking_uri:
        print(f"MLflow:   run {log(folder, measured, options.tracking_uri)}")
