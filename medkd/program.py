"""How a program ends: the cause of an error is its last line, and a stop is one line with the right exit status."""

from __future__ import annotations

import atexit
import logging
import os
import re
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType, TracebackType

__all__ = ["Stopped", "cause", "message", "quiet", "report", "uninterrupted", "watch", "without_ctrl_c"]


class Stopped(SystemExit):
    """The program was told to stop: SIGINT (ctrl-C) or SIGTERM. Its exit status is 128 and the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number).name

    def __str__(self) -> str:
        return f"stopped by {self.signal}"


class _Delay:
    """How many parts that are not to be interrupted are being run, and the stop that was asked for meanwhile."""

    depth = 0
    stopped: Stopped | None = None


_delay = _Delay()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A stop waits for the end of this, a second one does not.

    A stop within a transaction would leave it open, and the database locked for what is to be written at the end.
    """
    _delay.depth += 1
    before = _delay.stopped
    try:
        yield
    finally:
        _delay.depth -= 1
        if not _delay.depth and _delay.stopped is not before and _delay.stopped is not None:
            raise _delay.stopped


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal; those begun here leave it to this one, from their first moment on."""
    resource_tracker.ensure_running()  # it would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def quiet() -> None:
    """Keep what libraries say of themselves off the terminal."""
    # MONAI warns for every reader it makes where NVIDIA's image codec is not installed.
    logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader")
    # MLflow and SQLAlchemy announce every table they make; a user of medkd did not ask for that.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")  # read when it is imported, which it may be already
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])


def watch() -> None:
    """From now on the program ends in one line: of an error its cause, of SIGINT and SIGTERM that it was stopped.

    To be called by the main thread of a program, not by a library: what a notebook or a server runs raises as ever.
    """
    sys.excepthook = _excepthook
    program = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        for watched in (signal.SIGINT, signal.SIGTERM):
            signal.signal(watched, signal.SIG_DFL)  # a second one ends it at once
        if os.getpid() != program:  # a data loader's worker, which has inherited this
            os.kill(os.getpid(), number)
            return
        stopped = Stopped(number)
        atexit.register(_say, f"\nmedkd: {stopped}\n")
        _delay.stopped = stopped
        if not _delay.depth:
            raise stopped

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as for what a shell runs in the background
            signal.signal(number, stop)


def cause(error: BaseException) -> BaseException:
    """The error that MONAI wrapped in others, which say where it happened but not what."""
    while error.__cause__ is not None and _raised_by(error).startswith("monai."):
        error = error.__cause__
    return error


def report(error: BaseException) -> None:
    """Write the traceback to a file, and say where it is and what happened, the cause in the last line."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="medkd-", suffix=".log", delete=False, encoding="utf-8", errors="replace"
        ) as log:
            traceback.print_exception(error, file=log)
        print(f"Details: {log.name}", file=sys.stderr)
    except OSError:  # the disk may be full
        traceback.print_exception(error)
    _close_bars()
    print(f"medkd: error: {message(cause(error))}", file=sys.stderr)


def _say(text: str) -> None:
    _close_bars()
    os.write(2, text.encode())


def _close_bars() -> None:
    """Progress bars are drawn once more when they are collected, which would be the last line."""
    if "tqdm" in sys.modules:
        for bar in list(getattr(sys.modules["tqdm"].tqdm, "_instances", ())):
            bar.close()


def _excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    report(error)


def message(error: BaseException) -> str:
    """What an error says, for somebody who does not read tracebacks."""
    text = str(error)
    if "Original Traceback" in text:  # of a data loader's worker, whose errors are text: the cause is the first of them
        found = re.search(r"^[\w.]*(?:Error|Exception): (.+?)(?=\n\n|\Z)", text, flags=re.MULTILINE | re.DOTALL)
        return found[1].strip() if found else text
    if found := re.search(r"\(sqlite3\.\w+\) (.+)", text):
        return f"MLflow's store: {found[1]}"
    if isinstance(error, MemoryError) or re.search("out of memory|can't allocate memory", text):
        text = f"{text.splitlines()[0] if text else 'out of memory'}; fewer or smaller images per batch need less"
    return text if isinstance(error, (ValueError, OSError, RuntimeError)) else f"{type(error).__name__}: {text}"


def _raised_by(error: BaseException) -> str:
    """The module that raised it."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")) if frames else ""
