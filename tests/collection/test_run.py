"""A function over many items: one that fails, one that is killed, one that kills."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
import pytest

from medkd.collection import open_cluster, run_collection
from medkd.errors import DataError

from ..helpers import heed_signals

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test


def run(client: Any, function: Any, items: list[Any], **options: Any) -> dict[str, Any]:
    named = [(str(item), item) for item in items]
    return dict(run_collection(function, named, client=client, source="these", **options))


def failing(client: Any, function: Any, items: list[Any], **options: Any) -> tuple[dict[str, Any], DataError]:
    """What came before the error, and the error."""
    found = {}
    try:
        for name, result in run_collection(
            function, [(str(item), item) for item in items], client=client, source="these", **options
        ):
            found[name] = result  # noqa: PERF403 - what there is when it fails
    except DataError as error:
        return found, error
    raise AssertionError(f"expected an error, found {found}")


def test_every_result_comes_with_its_name(client: Any) -> None:
    assert run(client, _square, list(range(40))) == {str(number): number**2 for number in range(40)}


def _square(number: int) -> int:
    return number**2


def test_what_fails_once_is_tried_again(client: Any, tmp_path: Path) -> None:
    function = partial(_count, tmp_path)
    assert run(client, function, [1, 2], retries=1) == {"1": 2, "2": 2}


def test_what_fails_again_and_again_is_told_at_the_end_with_the_others_done(client: Any, tmp_path: Path) -> None:
    found, error = failing(client, partial(_count, tmp_path), [1, 4, 2, 5], retries=2)
    assert found == {"1": 2, "2": 2}
    assert str(error).startswith("these: 2 problem(s)\n")
    assert sorted(error.problems) == ["4: LookupError: call 3", "5: LookupError: call 3"]
    assert str(error.__cause__).count("in _count") == 2  # where it was, for the log


def _count(folder: Path, number: int) -> int:
    """Fails at the first call, from 3 on always."""
    calls = folder / str(number)
    with calls.open("a") as file:
        file.write("x")
    count = calls.stat().st_size
    if count == 1 or number > 3:
        raise LookupError(f"call {count}")
    return count


def test_items_are_taken_while_the_first_ones_run(client: Any, tmp_path: Path) -> None:
    def items() -> Iterator[tuple[str, int]]:
        yield "0", 0
        while not (tmp_path / "0.done").is_file():
            time.sleep(0.05)
        yield "1", 1

    function = partial(_slowly, tmp_path)
    assert dict(run_collection(function, items(), client=client, source="these")) == {"0": 0, "1": 1}


def _slowly(folder: Path, number: int) -> int:
    with (folder / f"{number}.begun").open("a") as file:
        file.write(f"{os.getpid()} ")
    time.sleep(0.5)
    (folder / f"{number}.done").touch()
    return number


def test_an_address_is_that_of_a_running_scheduler(client: Any) -> None:
    from distributed import Client

    other = Client(client.cluster.scheduler_address, security=client.cluster.security, set_as_default=False)
    with other:
        assert run(other, _square, [3]) == {"3": 9}


def test_what_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medkd.collection.cluster._PATIENCE", 1)
    with (
        pytest.raises(ConnectionError, match=r"tcp://127\.0\.0\.1:9: expected a scheduler of Dask"),
        open_cluster("tcp://127.0.0.1:9"),
    ):
        pass
    with pytest.raises(ValueError, match="workers: expected at least 1, got 0"), open_cluster(workers=0):
        pass


def test_without_dask_the_command_that_brings_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r'pip install "medkd\[collection\]"'), open_cluster():
        pass


def test_a_worker_that_is_killed_loses_nothing(client: Any, tmp_path: Path) -> None:
    killed = False
    items = [(str(number), number) for number in range(6)]
    found = {}
    for name, result in run_collection(partial(_slowly, tmp_path), items, client=client, source="these"):
        found[name] = result
        if not killed:
            running = next(p for p in tmp_path.glob("*.begun") if not p.with_suffix(".done").is_file())
            os.kill(int(running.read_text()), signal.SIGKILL)
            killed = True
    assert found == dict(items)
    assert max(len(path.read_text().split()) for path in tmp_path.glob("*.begun")) == 2


def test_an_item_that_kills_its_workers_is_told_and_no_other_is_blamed(client: Any) -> None:
    found, error = failing(client, _deadly, list(range(8)))
    assert found == {str(number): number for number in range(8) if number != 3}
    (problem,) = error.problems
    assert problem.startswith("3: expected a worker to survive it")


def _deadly(number: int) -> int:
    if number == 3:
        os._exit(1)
    time.sleep(0.05)
    return number


_PROGRAM = """
import sys, time
from medkd import program
from medkd.collection import open_cluster, run_collection

if __name__ == "__main__":
    program.watch()
    with open_cluster(workers=1) as client:
        print(*client.run(__import__("os").getpid).values(), flush=True)
        for _ in run_collection(time.sleep, [("long", 60)], client=client, source="these"):
            pass
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stop_ends_what_was_started(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, which every process of the group gets; or the program alone is killed."""
    (tmp_path / "program.py").write_text(_PROGRAM)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heed_signals,
    )  # fmt: skip
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    time.sleep(0.5)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, said = process.communicate(timeout=30)
    if number == signal.SIGINT:
        assert (process.returncode, said.strip()) == (130, "medkd: stopped by SIGINT")
    deadline = time.monotonic() + 10
    while _runs(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _runs(worker)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
