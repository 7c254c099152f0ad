"""What tests of several folders share."""

import contextlib
import gc
import io
import json
import logging
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import SimpleITK as sitk


def free_port() -> int:
    """A port of this machine that nothing listens on, and that no connection of another test gets before it is used.

    The system takes the ports of connections, and those asked for as 0, from 32768 upwards (``ip_local_port_range``).
    """
    while True:
        port = random.SystemRandom().randrange(20000, 32768)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


class TrackingServer:
    """MLflow's own server on SQLite, which can be killed and started again at the same address.

    ``tools`` is the folder of the fixture of this name.
    """

    def __init__(self, folder: Path, tools: Path) -> None:
        self.folder, self.port, self.python = folder, free_port(), str(tools / "python")
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        store = ["--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        store += ["--artifacts-destination", str(self.folder / "art")]
        command = [self.python, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1", *store]
        few = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # processes
        log = self.folder / "server.log"
        with log.open("w") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=file, cwd=self.folder, env=few, start_new_session=True
            )
        deadline = time.monotonic() + 400
        while not self._answers():
            assert self.process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{self.address}/health", timeout=2).status == 200
        return False

    def kill(self) -> None:
        if self.process is not None:
            subprocess.run(["pkill", "-KILL", "-s", str(self.process.pid)], check=False)
            self.process.wait()
            self.process = None
            while self._answers():  # it is told a moment later
                time.sleep(0.01)


@contextlib.contextmanager
def mlflow_server(folder: Path, tools: Path) -> Iterator[TrackingServer]:
    """A ``TrackingServer`` that runs."""
    folder.mkdir(parents=True, exist_ok=True)
    server = TrackingServer(folder, tools)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def on_the_series(mask: Path, series: Path) -> np.ndarray:
    """A mask's file on the grid of a DICOM series, both as SimpleITK reads them."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    image = reader.Execute()
    return sitk.GetArrayFromImage(
        sitk.Resample(sitk.ReadImage(str(mask)), image, sitk.Transform(), sitk.sitkNearestNeighbor)
    )


def by_dcmqi(seg: Path, folder: Path) -> tuple[Path, list[str]]:
    """What dcmqi makes of a DICOM segmentation: the mask's file, and the codes of its segments."""
    folder.mkdir()
    converter = Path(sys.executable).parent / "segimage2itkimage"
    assert converter.is_file(), "dcmqi is one of the test extras"
    command = [str(converter), "--inputDICOM", str(seg), "--outputDirectory", str(folder), "--outputType", "nii"]
    subprocess.run([*command, "--mergeSegments"], check=True, capture_output=True)
    described = json.loads(next(folder.glob("*.json")).read_text())
    segments = [segment for group in described["segmentAttributes"] for segment in group]
    codes = [segment["SegmentedPropertyTypeCodeSequence"]["CodeValue"] for segment in segments]
    return next(folder.glob("*.nii.gz")), sorted(codes)


def heed_signals() -> None:
    """For a program's start (``preexec_fn``): a shell lets what it runs in the background ignore ctrl-C, tests too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def bundle_command(configs: list[Path], **overrides: Any) -> list[str]:
    """The command line of a bundle's run, without the Python that runs it."""
    files = str([str(path) for path in configs]) if len(configs) > 1 else str(configs[0])
    return ["-m", "monai.bundle", "run", "--config_file", files, *options(overrides)]


def options(overrides: dict[str, Any]) -> list[str]:
    return [part for key, value in overrides.items() for part in (f"--{key}", str(value))]


def run_bundle(configs: list[Path], *, check: bool = True, **overrides: Any) -> subprocess.CompletedProcess[str]:
    """``python -m monai.bundle run`` in the bundle's folder, but in this process, which has imported MONAI already.

    MONAI's own program parses the command line: only the seconds of its start are saved.
    """
    _, module, *arguments = bundle_command(configs, **overrides)
    printed, said, status = io.StringIO(), io.StringIO(), 0
    with _as_a_program([module, *arguments], configs[0].parents[1]), _output_in(printed, said):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            status = end.code
        except Exception:  # noqa: BLE001 - as at the end of a program
            status = 1
            sys.excepthook(*sys.exc_info())
    gc.collect()  # its data loaders and their workers
    done = subprocess.CompletedProcess([module, *arguments], status, printed.getvalue(), said.getvalue())
    if check and done.returncode:
        raise AssertionError(done.stdout[-3000:] + done.stderr[-6000:])
    return done


@contextlib.contextmanager
def _as_a_program(arguments: list[str], folder: Path) -> Iterator[None]:
    """Arguments, working folder and environment of a new program; loggers and signals are left as they were."""
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.Logger.manager.loggerDict))]
    before = [(logger, logger.handlers[:], logger.level, logger.disabled) for logger in loggers]
    variables = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    place = Path.cwd()
    try:
        os.chdir(folder)
        with (
            mock.patch.object(sys, "argv", arguments),
            mock.patch.object(sys, "excepthook", sys.excepthook),
            mock.patch.dict(os.environ, variables, clear=True),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        os.chdir(place)
        for number, handler in signals.items():
            signal.signal(number, handler)
        for logger, handlers, level, disabled in before:
            logger.handlers, logger.disabled = handlers, disabled
            logger.setLevel(level)


@contextlib.contextmanager
def _output_in(printed: io.StringIO, said: io.StringIO) -> Iterator[None]:
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        yield
