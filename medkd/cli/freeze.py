"""``medkd freeze``: a student's settings into the files of its bundle."""

from __future__ import annotations

import argparse

HELP = "write what a bundle's student was trained with into its files, for tools that read nothing else"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which bundle."""
    parser.add_argument("bundle", help="the bundle's folder, with models/model.pt")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from medkd.bundle import freeze

    changed = freeze(options.bundle)
    for path in changed:
        print(f"Changed: {path}")
    if not changed:
        print("The files say what the student was trained with already.")
