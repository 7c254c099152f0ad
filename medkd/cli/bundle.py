"""``medkd bundle``: a working copy of a bundle."""

from __future__ import annotations

import argparse
import shlex

from medkd.library import bundle_names

HELP = "write a working copy of a bundle: its configurations, to train with and to change"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which, and where to."""
    parser.add_argument("name", help=f"a bundle or its method: {', '.join(bundle_names())}")
    parser.add_argument("folder", help="the folder to make; nothing is overwritten")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from medkd.library import copy_bundle

    folder = copy_bundle(options.name, options.folder)
    print(f"Bundle: {folder}")
    print(
        f"Next:   cd {shlex.quote(str(folder))}    # configs/train.yaml tells what can be set, docs/README.md how to train"
    )
