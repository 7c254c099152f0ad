"""Ends its process, as a loss of power would, at one of the moments that a training consists of.

Moments: every event of an engine (iterations, validation, role switch, ends of epochs), the middle of every file that torch
writes, and before and after every file appears under its name. ``KILL_AT=17`` in the environment of a program that ``warm``
runs; ``KILL_AT=0`` counts them into the file ``MOMENTS``. ``CLOCK_AT=17``: from that moment on it is yesterday.
"""

import atexit
import io
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine

_DAY = 86400


class Moments:
    """Counts them, and does at one of them what is to be done."""

    def __init__(self) -> None:
        self.count, self.at, self.jump = 0, int(os.environ.get("KILL_AT", "0")), int(os.environ.get("CLOCK_AT", "0"))

    def pass_one(self) -> None:
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.count == self.jump:
            now = time.time
            time.time = lambda: now() - _DAY

    def watch(self) -> None:
        fire, replace, save = Engine._fire_event, os.replace, torch.save

        def _fire(engine: Any, *args: Any, **kwargs: Any) -> None:
            self.pass_one()
            fire(engine, *args, **kwargs)

        def _replace(*args: Any, **kwargs: Any) -> None:
            self.pass_one()
            replace(*args, **kwargs)
            self.pass_one()

        def _save(value: Any, file: Any, *args: Any, **kwargs: Any) -> None:
            save(value, whole := io.BytesIO(), *args, **kwargs)
            half = len(whole.getvalue()) // 2
            file.write(whole.getvalue()[:half])
            self.pass_one()
            file.write(whole.getvalue()[half:])

        Engine._fire_event, os.replace, torch.save = _fire, _replace, _save
        if "MOMENTS" in os.environ:
            atexit.register(lambda: Path(os.environ["MOMENTS"]).write_text(str(self.count)))


if os.environ.keys() & {"KILL_AT", "CLOCK_AT"}:
    Moments().watch()
