"""``medkd tracking``: runs in MLflow."""

from __future__ import annotations

import argparse

HELP = "complete an MLflow server's runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is done with runs is a verb of its own."""
    kinds = parser.add_subparsers(title="what to do", required=True, metavar="WHAT")
    sync = kinds.add_parser(
        "sync",
        help="bring what runs logged while the server was away to the server; safe to repeat",
        formatter_class=parser.formatter_class,
    )
    sync.add_argument("folder", help="folder of mlruns-offline.db: a training's eval, or a ladder's output")
    sync.add_argument("--tracking_uri", default=None, metavar="URI", help="the server; MLFLOW_TRACKING_URI by default")
    sync.set_defaults(run=_sync)


def _sync(options: argparse.Namespace) -> None:
    from medkd.sync import sync

    for line in sync(options.folder, options.tracking_uri):
        print(line, flush=True)
