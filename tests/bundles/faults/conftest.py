"""Programs that start at once and end when they are told to; what a bundle's training leaves when nothing goes wrong."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ... import warm
from ..conftest import environment

TIMES = int(os.environ.get("MEDKD_FAULTS", "2"))  # how often each fault happens: `make test-faults` has more
Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Runs ``python …`` or ``medkd …`` as a process of its own, without the seconds of its imports."""
    folder = tmp_path_factory.mktemp("warm") / "bin"
    server = warm.start(folder)

    def run(command: list[str], *, cwd: Path | None = None, **variables: Any) -> subprocess.CompletedProcess[str]:
        name = "medkd" if command[0] == "medkd" else "python"
        own = environment(**{key: str(value) for key, value in variables.items()})
        return subprocess.run([folder / name, *command[1:]], capture_output=True, text=True, env=own, cwd=cwd)

    yield run
    server.kill()
    server.wait()
