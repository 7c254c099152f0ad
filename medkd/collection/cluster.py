"""Where tasks run: processes of this machine, or the workers of a scheduler that is there."""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from medkd.program import without_ctrl_c

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["open_cluster"]

_PATIENCE = 30  # seconds until a scheduler is taken to be away
# A worker holds next to nothing for Dask: its memory is that of one task, which no limit makes smaller.
_NO_LIMIT = 0
_DEATHS = 1  # of workers on a task before it is put aside


@contextmanager
def open_cluster(scheduler: str | None = None, *, workers: int = 1) -> Iterator[Client]:
    """A client of Dask; what it started ends with it.

    The processes that are started here have one task at a time, share the CPU's threads, are started again when they
    end, and speak with each other by TLS with certificates of their own: the port of a scheduler without it lets everybody
    on the machine run code as this user.

    Args:
        scheduler: address of one that runs, ``"tcp://HOST:8786"``, or ``"tls://…"`` as Dask's configuration has it; by default
            processes of this machine are started.
        workers: how many processes those are.

    Raises:
        ImportError: if Dask is not installed, with the pip command.
        ValueError: for less than one worker.
        ConnectionError: if nothing answers at the address.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError('Dask is not installed: pip install "medkd[collection]"') from error
    if workers < 1:
        raise ValueError(f"workers: expected at least 1, got {workers}")
    if scheduler is None:
        with _local(workers) as cluster, Client(cluster, set_as_default=False) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"{scheduler}: expected a scheduler of Dask, found none that answers ({error})"
        ) from error
    with client:
        yield client


@contextmanager
def _local(workers: int) -> Iterator[Any]:
    import dask
    from distributed import LocalCluster

    # 127.0.0.1 in full: of an address without a host Dask makes one of every network that the machine is in.
    dashboard = f"127.0.0.1:{8787 if importlib.util.find_spec('bokeh') else 0}"
    with dask.config.set(_settings(workers)):  # some are read when a worker is lost
        with without_ctrl_c(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Port 8787 is already in use")
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                memory_limit=_NO_LIMIT,
                dashboard_address=dashboard,
                security=True,
                silence_logs=logging.CRITICAL,  # what fails is told at the end, by name
            )
        with cluster:
            yield cluster


def _settings(workers: int) -> dict[str, Any]:
    from dask.system import CPU_COUNT

    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, CPU_COUNT // workers))
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(names, threads),
        "distributed.deploy.lost-worker-timeout": "1000 days",  # it is started again, however long that takes
        "distributed.scheduler.allowed-failures": _DEATHS,
        "distributed.worker.daemon": False,  # the processes of a data loader are a worker's children
    }
