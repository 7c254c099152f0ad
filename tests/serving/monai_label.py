"""A real MONAI Label server in its own environment."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import requests

from ..helpers import free_port
from ..listener import of_a_user

SHIM = Path(__file__).with_name("torchvision_operators.py")


def usable(python: Path) -> Path:
    """The environment's Python, with a torchvision that can be imported beside a CPU build of torch."""
    if subprocess.run([str(python), "-c", "import torchvision"], capture_output=True).returncode:
        packages = next((python.parent.parent / "lib").glob("python*")) / "site-packages"
        shutil.copy(SHIM, packages)
        (packages / "torchvision_operators.pth").write_text("import torchvision_operators\n")
    return python


class Server:
    """``monailabel start_server`` on a free port of this machine."""

    def __init__(self, python: Path, app: Path, studies: str | Path, folder: Path, **environment: str) -> None:
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        self.python, self.app, self.studies, self.log = python, app, str(studies), folder / "server.log"
        self.store = f"sqlite:///{folder / 'mlruns.db'}"
        # By default a server scores its studies at its start and with every next one, in processes that each import MONAI.
        own = {
            "MONAI_LABEL_TRACKING_URI": self.store,
            "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
            "OMP_NUM_THREADS": "1",
        }
        self.environment = {**own, **environment}

    def start(self, *options: str) -> "Server":
        command = [str(self.python.parent / "monailabel"), "start_server", "--app", str(self.app)]
        # monailabel is a script that calls `python`.
        self.environment["PATH"] = f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"
        place = ["--host", "127.0.0.1", "--port", str(self.port)]
        return self.launch([*command, "--studies", self.studies, *place, *options])

    def launch(self, command: list[str]) -> "Server":
        """Run what starts the server and wait until it answers."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env={**of_a_user(), **self.environment},
                cwd=self.log.parent,
                start_new_session=True,
            )
        deadline = time.monotonic() + 400
        while not self._answers():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.5)
        return self

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/info/", timeout=5).ok
        except requests.RequestException:
            return False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def said(self) -> str:
        return self.log.read_text()[-6000:]

    def kill(self) -> None:
        """The server and its trainings, if it runs, without a warning."""
        if self.process is None:
            return
        for process in Path("/proc").glob("[0-9]*"):
            try:
                same = os.getsid(int(process.name)) == self.process.pid
            except ProcessLookupError:
                continue
            if same:
                os.kill(int(process.name), signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """The server, as a user stops it: what it has to write it writes."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
        self.kill()

    def wait_for(self, text: str, seconds: float = 120, *, behind: int = 0) -> None:
        """Until the log has it, behind a place; the log may come after the answer."""
        deadline = time.monotonic() + seconds
        while text not in self.log.read_text()[behind:]:
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def wait_for_study(self, image: str) -> None:
        deadline = time.monotonic() + 30
        while image not in requests.get(f"{self.url}/datastore/?output=all", timeout=60).text:
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.2)

    def info(self) -> dict:
        return requests.get(f"{self.url}/info/", timeout=60).json()

    def infer(self, model: str, image: str, to: Path | None = None, *, output="image", **params) -> requests.Response:
        data = {"params": json.dumps(params)}
        where = f"{self.url}/infer/{model}?image={image}&output={output}"
        answer = requests.post(where, data=data, timeout=300)
        if to is not None:
            assert answer.status_code == 200, answer.text + self.said()
            to.write_bytes(answer.content)
        return answer

    def put_label(self, image: str, label: Path, **params) -> None:
        with label.open("rb") as file:
            where, data = f"{self.url}/datastore/label?image={image}", {"params": json.dumps(params)}
            answer = requests.put(where, files={"label": (label.name, file)}, data=data, timeout=60)
        assert answer.status_code == 200, answer.text

    def remove_label(self, image: str) -> None:
        answer = requests.delete(f"{self.url}/datastore/label?id={image}&tag=final", timeout=60)
        assert answer.status_code == 200, answer.text
        deadline = time.monotonic() + 30
        while image in requests.get(f"{self.url}/datastore/?output=train", timeout=60).text:
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def train(self, model: str, *, wait: bool = True, **params) -> requests.Response:
        params = {
            "max_epochs": 1,
            "device": "cpu",
            "val_split": 0.34,
            "multi_gpu": False,
            **params,
        }
        where = f"{self.url}/train/{model}?run_sync={str(wait).lower()}"
        return requests.post(where, json=params, timeout=600)

    def wait_for_training(self) -> None:
        deadline = time.monotonic() + 300
        while (status := requests.get(f"{self.url}/train/", timeout=60).json()["status"]) != "DONE":
            assert status != "ERROR", self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.5)
