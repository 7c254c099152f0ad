"""Trainings side by side, each in a process of its own, begun when what it reads is there."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from medkd.program import watch, without_ctrl_c

__all__ = ["side_by_side"]

Cell = TypeVar("Cell")
_LONGEST = 10_000  # of a message: a pipe holds more than that without a reader


def side_by_side(
    function: Callable[..., None],
    cells: Mapping[Cell, Sequence[Any]],
    *,
    needs: Callable[[Cell], Sequence[Cell]],
    jobs: int,
) -> Iterator[Cell]:
    """Call a function for every cell, and give the cells in the order in which they are done.

    The processes share the CPU's threads. If one fails, or this one is stopped, all are stopped, as by SIGTERM; if this one
    vanishes, they stop too.

    Args:
        function: of a module, so that another process can import it.
        cells: the function's arguments for each.
        needs: the cells that have to be done before; those that are not among ``cells`` are taken to be there.
        jobs: how many processes at once; >= 1.

    Raises:
        RuntimeError: if a cell fails, with its message.
    """
    waiting, running = list(cells), dict[Cell, tuple[BaseProcess, Connection]]()
    try:
        while waiting or running:
            open_cells = {*waiting, *running}
            ready = [cell for cell in waiting if open_cells.isdisjoint(needs(cell))]
            if not (ready or running):
                raise RuntimeError(
                    f"expected an order in which these can be trained, found that each needs another: {waiting}"
                )
            for cell in ready[: jobs - len(running)]:
                waiting.remove(cell)
                running[cell] = _start(function, cells[cell], jobs)
            wait([process.sentinel for process, _ in running.values()])
            for cell in [cell for cell, (process, _) in running.items() if not process.is_alive()]:
                _check(*running.pop(cell))
                yield cell
    finally:
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.join()


def _start(function: Callable[..., None], arguments: Sequence[Any], jobs: int) -> tuple[BaseProcess, Connection]:
    context = _context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(function, arguments, jobs, sender, dict(os.environ)))
    with without_ctrl_c():
        process.start()
    sender.close()
    return process, receiver


def _context() -> Any:
    """Forks of a process that has imported what trainings import, which takes MONAI 10 s; CUDA does not survive a fork."""
    import torch

    if torch.cuda.is_available() or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["medkd.bundle", "medkd.handlers", "medkd.ladder.runner"])
    return context


def _check(process: BaseProcess, receiver: Connection) -> None:
    with receiver:
        try:
            message = receiver.recv() if receiver.poll() else None
        except EOFError:  # closed without a word
            message = None
    process.join()
    if message or process.exitcode:
        raise RuntimeError(message or f"a training's process ended with the exit status {process.exitcode}")


def _child(
    function: Callable[..., None], arguments: Sequence[Any], jobs: int, sender: Connection, environment: dict[str, str]
) -> None:
    import torch

    os.environ.clear()
    os.environ.update(environment)  # a fork has that of the first one's start
    watch()
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    torch.set_num_threads(max(1, torch.get_num_threads() // jobs))
    try:
        function(*arguments)
    except Exception as error:  # noqa: BLE001 — whatever it is, the first process raises it
        sender.send(str(error)[:_LONGEST])


def _stop_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
