"""``medkd demo``: the main job on phantoms, in minutes."""

from __future__ import annotations

import argparse

HELP = "the main job on phantoms, in minutes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which method, and where."""
    parser.add_argument("--method", default="confkd", help="confkd, kdas or ikdmil")
    parser.add_argument("--bundles", default="bundles", help="folder of the bundles")
    parser.add_argument("--output_dir", default="demo")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from medkd.demo import run_demo

    run_demo(options.method, bundles=options.bundles, output_dir=options.output_dir)
