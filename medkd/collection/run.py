"""A function over many items, on workers that may be killed; what cannot be done is told at the end."""

from __future__ import annotations

import logging
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

from medkd import program
from medkd.errors import DataError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["run_collection"]

Item = TypeVar("Item")
Result = TypeVar("Result")
_LONGEST = 6000  # characters of a traceback that travel


def run_collection(
    function: Callable[[Item], Result],
    items: Iterable[tuple[str, Item]],
    *,
    client: Client,
    source: str | Path,
    retries: int = 2,
    progress: bool = False,
) -> Iterator[tuple[str, Result]]:
    """Call a function for every item, a task of Dask each, and give name and result in the order in which they are done.

    A task that raises is tried again; so is one whose worker was killed, which may be any that ran or waited there. One that
    it happens to again and again is put aside, and tried once more by itself at the end, so that none is blamed for another.

    Args:
        function: one of a module, or a ``partial`` of it: workers import it. It may be called twice for an item, so what it
            writes is to be complete or not there.
        items: names, and what the function takes: paths and settings that mean the same to every worker. They are
            taken while the first ones run already.
        client: of the cluster, for example that of ``open_cluster``.
        source: of the items, for the error.
        retries: how often a task that raises is tried again.
        progress: show a bar.

    Raises:
        DataError: after the last result, with every item that could not be done; its cause has the workers' tracebacks.
        ConnectionError: if the scheduler is lost.
    """
    with tqdm(total=0, disable=not progress) as bar:
        tasks = _Tasks(client, function, retries, bar)
        for name, item in items:
            bar.total += 1
            tasks.submit(name, item)
            while tasks.done.has_ready():
                yield from tasks.take()
        bar.refresh()
        while not tasks.done.is_empty():
            yield from tasks.take()
        tasks.alone = True
        for name, item in tasks.suspects:
            tasks.submit(name, item)
            yield from tasks.take()
    if tasks.problems:
        raise DataError(source, tasks.problems) from RuntimeError("\n".join(tasks.details))


class _Tasks:
    """Those that are running, and what became of the others."""

    def __init__(self, client: Client, function: Callable[[Any], Any], retries: int, bar: Any) -> None:
        from distributed import as_completed

        self.client, self.function, self.retries, self.bar = client, function, retries, bar
        self.label = getattr(getattr(function, "func", function), "__name__", "item")  # on the dashboard
        self.items: dict[str, tuple[str, Any]] = {}
        self.done = as_completed(loop=client.loop, with_results=True, raise_errors=False)
        self.alone = False
        self.suspects: list[tuple[str, Any]] = []
        self.problems: list[str] = []
        self.details: list[str] = []

    def submit(self, name: str, item: Any) -> None:
        key = f"{self.label}-{uuid.uuid4().hex}"  # names are nobody's business who sees the dashboard
        self.items[key] = name, item
        self.done.add(self.client.submit(_attempt, self.function, item, key=key, retries=self.retries, pure=False))

    def take(self) -> Iterator[tuple[str, Any]]:
        """Wait for the next one; its name and result, if it has one."""
        from distributed import KilledWorker

        future, result = next(self.done)
        name, item = self.items.pop(future.key)
        if future.status not in {"finished", "error"}:
            raise ConnectionError("the scheduler is lost; run the same command again: what is done is not done twice")
        if future.status == "error" and isinstance(result[1], KilledWorker) and not self.alone:
            self.suspects.append((name, item))
            return
        self.bar.update()
        if future.status == "finished":
            yield name, result
        elif isinstance(result[1], KilledWorker):
            self._note(name, "expected a worker to survive it, found that each one ended: out of memory, or a crash")
        else:
            self._note(name, *(result[1].args if isinstance(result[1], _FailedError) else [str(result[1])]))

    def _note(self, name: str, reason: str, *details: str) -> None:
        self.problems.append(reason if name in reason else f"{name}: {reason}")
        self.details.extend(details)


class _FailedError(Exception):
    """What travels of an error: its reason in one line, and the traceback."""


def _attempt(function: Callable[[Item], Result], item: Item) -> Result:
    program.quiet()
    logging.getLogger("medkd").setLevel(logging.ERROR)  # who started this was warned, once
    try:
        return function(item)
    except Exception as error:  # noqa: BLE001 - whatever it is, it travels as text
        found = program.cause(error)
        text = "; ".join(found.problems) if isinstance(found, DataError) else program.message(found)
        raise _FailedError(" ".join(text.split()), traceback.format_exc()[-_LONGEST:]) from None
