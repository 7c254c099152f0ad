"""``medkd label-env``: the virtual environment of a MONAI Label server."""

from __future__ import annotations

import argparse

HELP = "make the virtual environment of a MONAI Label server, from tested versions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where."""
    parser.add_argument("path", help="folder of the environment; what was begun there is finished")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from medkd.serving import make_label_environment

    python = make_label_environment(options.path)
    print(f"Python:   {python}")
    print(f"Activate: source {python.parent / 'activate'}    # then what `medkd deploy` prints")
