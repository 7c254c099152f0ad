"""``medkd demo``: the main job on phantoms, in minutes."""

from __future__ import annotations

import argparse

from medkd.cli.ladder import add_overrides

HELP = "the main job on phantoms, in minutes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which method, and where."""
    parser.add_argument("--method", default="confkd", help="a bundle or its method")
    parser.add_argument("--output_dir", default=None, help="folder to make or to go on in (default: demo/METHOD)")
    add_overrides(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from medkd.demo import run_demo

    run_demo(options.method, output_dir=options.output_dir, overrides=options.set)
