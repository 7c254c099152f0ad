"""Arguments of commands that share their work out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medkd.teaching.teach import Run

__all__ = ["add_workers", "shared_out"]


def add_workers(parser: argparse.ArgumentParser, without: str) -> None:
    """``--workers`` or ``--scheduler``, and ``--retries``; ``without`` says what happens where neither is given."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=int, default=None, metavar="N", help=f"processes of this machine (default: {without})"
    )
    where.add_argument(
        "--scheduler", default=None, metavar="tcp://HOST:PORT", help="of Dask, whose workers see the same files"
    )
    parser.add_argument("--retries", type=int, default=2, metavar="N", help="of what fails (default: 2)")


@contextmanager
def shared_out(options: argparse.Namespace, source: str) -> Iterator[Run]:
    """``run_collection`` on the workers that the arguments say, which are told of."""
    from medkd.collection import open_cluster, run_collection

    with open_cluster(options.scheduler, workers=1 if options.workers is None else options.workers) as client:
        known: dict[str, Any] = client.scheduler_info()["workers"]
        print(f"Workers:  {len(known)}; dashboard: {_dashboard(client.dashboard_link)}")
        yield partial(run_collection, client=client, source=source, retries=options.retries, progress=True)


def _dashboard(link: str) -> str:
    from importlib.util import find_spec

    return link if find_spec("bokeh") else "none, pip install bokeh brings it"
