"""MLflow's own pages as a user has them: served by the command that a ladder prints, in a real browser."""

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from .helpers import free_port

CHROMIUM = shutil.which("chromium")
_WAIT = 120_000  # ms: a busy machine serves MLflow's scripts slowly
_THEIRS = re.compile("ResizeObserver loop|/mlflow/users/current")  # MLflow's pages complain of that whatever they show
# As somebody who has closed the assistant that MLflow opens with: it takes a third of the width.
_CLOSED = "self === top && localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
_CELLS = """rows => rows.flatMap(row => [...row.querySelectorAll('[col-id]')].map(
    cell => [Number(row.getAttribute('row-index')), cell.getAttribute('col-id'), cell.innerText]))"""


@contextlib.contextmanager
def served(printed: str) -> Iterator[str]:
    """The page that ``medkd ladder`` names, while the command that it prints runs, on a port that is free."""
    found = re.search(r"MLflow UI: (.+)\n\s+(http\S+)", printed)
    assert found, printed
    port, own = free_port(), {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    server = subprocess.Popen(f"{found[1]} --port {port}", shell=True, env=own, **quiet)
    try:
        _wait_for(server, f"http://127.0.0.1:{port}/health")
        yield found[2].replace(":5000/", f":{port}/")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait_for(server: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + 300
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address, timeout=2)  # the server we started
            return
        assert server.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)


@contextlib.contextmanager
def browser_tab(width: int, height: int) -> Iterator[tuple[Any, list[str]]]:
    """A tab, and what is complained of in it that is not MLflow's own."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=_WAIT)
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = chromium.new_context(viewport={"width": width, "height": height})
        context.set_default_timeout(_WAIT)
        context.add_init_script(_CLOSED)
        tab, said = context.new_page(), list[str]()
        tab.on("console", lambda one: _hear(said, f"{one.text} {one.location['url']}") if one.type == "error" else None)
        tab.on("pageerror", lambda error: _hear(said, str(error)))
        praise = tab.get_by_role("button", name="Try it now")  # of the registry's pages, over the first of them
        tab.add_locator_handler(praise, lambda button: button.click())
        yield tab, said
        chromium.close()


def _hear(said: list[str], text: str) -> None:
    if not _THEIRS.search(text):
        said.append(text)


def list_runs(tab: Any, page: str, *, columns: Sequence[str], without: Sequence[str] = ()) -> None:
    """Open the list of runs, choose columns and open the ladder; MLflow remembers both until the browser is closed."""
    tab.goto(page)
    ladder = tab.get_by_role("gridcell").filter(has=tab.get_by_role("link", name="ladder-"))
    ladder.wait_for()  # the columns to be chosen from are those of the runs that are there
    tab.get_by_role("button", name="Columns", exact=True).click()
    for name in (*without, *columns):
        tab.get_by_placeholder("Search columns").fill(name)
        tab.get_by_role("dialog").get_by_text(name, exact=True).click()
    tab.keyboard.press("Escape")
    ladder.get_by_role("button").click()
    tab.get_by_role("link", name="-seed0-").first.wait_for()


def listed(tab: Any) -> dict[str, dict[str, str]]:
    """The list as it stands there: of each run, by its name, the text in each column."""
    rows: dict[int, dict[str, str]] = {}
    for row, column, text in tab.locator(".ag-row").evaluate_all(_CELLS):
        if not column.isdigit():  # else boxes to tick
            rows.setdefault(row, {})[re.sub(r"^\w+\.`(.*)`$", r"\1", column)] = text.splitlines()[-1]
    return {cells["Run Name"]: cells for _, cells in sorted(rows.items())}


def widen(tab: Any, column: str) -> None:
    """As wide as what is in it, by two clicks on the edge of a column's head; of the edge's right half its neighbour has the clicks."""
    edge = tab.locator(f".ag-header-cell[col-id*='{column}'] .ag-header-cell-resize").bounding_box()
    tab.mouse.dblclick(edge["x"] + 2, edge["y"] + edge["height"] / 2)


def likeness(seen: bytes, wanted: bytes) -> float:
    """The correlation of two pictures' pixels; what a page shows at another size than its file has is compared at that."""
    first, second = (Image.open(io.BytesIO(content)).convert("L") for content in (seen, wanted))
    if abs(first.width - second.width) > 1:  # a frame can begin between two pixels
        second = second.resize(first.size, Image.Resampling.BOX)
    shared = [min(sides) for sides in zip(first.size, second.size, strict=True)]
    pixels = [np.asarray(image.crop((0, 0, *shared)), float).ravel() for image in (first, second)]
    return float(np.corrcoef(*pixels)[0, 1])
