"""``python -m monai.bundle``, ``python -m mlflow`` and ``medkd`` for a shell, without the seconds of their imports.

A program that has imported all of it forks a child for every command: with the command's own arguments, folder,
environment and output, it runs what the command would run, gets the signals that the command gets, and does not outlive it.
Any other ``python`` is the real one.
"""

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

_SHIM = """#!{python} -IS
import json, os, signal, socket, sys
name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
arguments = arguments[arguments[:1] == ["-u"]:]  # as torchrun calls it
if name == "python" and arguments[:2] not in (["-m", "monai.bundle"], ["-m", "mlflow"]):
    os.execv({python!r}, [{python!r}, *arguments])
call = socket.socket(socket.AF_UNIX)
call.connect({address!r})
socket.send_fds(call, [json.dumps([[sys.argv[0], *arguments], os.getcwd(), dict(os.environ)]).encode()], [1, 2])
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: call.send(bytes([number])))
sys.exit(int(call.recv(8) or b"1"))
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start the program, and put the commands ``python`` and ``medkd`` in a folder; ready when it has said so."""
    folder.mkdir()
    address = str(folder / "socket")
    for name in ("python", "medkd"):
        shim = folder / name
        shim.write_text(_SHIM.format(python=sys.executable, address=address))
        shim.chmod(0o755)
    program = subprocess.Popen([sys.executable, __file__, address], stdout=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stdout.readline() == b"ready\n"
    return program


def _serve(address: str) -> None:
    import ignite.handlers  # noqa: F401
    import mlflow.cli
    import mlflow.server
    import mlflow.store.tracking.sqlalchemy_store
    import monai.bundle  # noqa: F401
    import onnxscript  # noqa: F401
    import torch
    import uvicorn  # noqa: F401
    from mlflow.utils import requirements_utils
    from stores import copy_tables  # beside this file, which runs as a program

    import medkd.bundle
    import medkd.cli
    import medkd.handlers  # noqa: F401

    copy_tables()
    mlflow.server._exec_cmd = _in_its_place
    requirements_utils._init_modules_to_packages_map()  # all files of all packages, for a student that is logged
    torch.set_num_threads(1)
    gc.freeze()  # or each child would go through all of it, and copy its pages
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        listener.settimeout(5)
        os.write(1, b"ready\n")
        keepers = set[int]()
        while os.getppid() == parent:  # not longer than the tests
            keepers -= {keeper for keeper in keepers if os.waitpid(keeper, os.WNOHANG)[0]}
            try:
                call, _ = listener.accept()
            except TimeoutError:
                continue
            with call:
                keeper = os.fork()
                if not keeper:
                    _keep(call)
            keepers.add(keeper)


def _keep(call: socket.socket) -> NoReturn:
    """Runs a command, passes its signals on, and tells how it ended."""
    message, outputs, *_ = socket.recv_fds(call, 1 << 20, 2)
    child = os.fork()
    if not child:
        for number, output in enumerate(outputs, start=1):
            os.dup2(output, number)
        _run(*json.loads(message))
    for output in outputs:
        os.close(output)
    ended = os.pidfd_open(child)
    while ended not in select.select([ended, call], [], [])[0]:
        os.kill(child, (call.recv(1) or bytes([signal.SIGKILL]))[0])  # closed: the command was killed
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        call.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _run(arguments: list[str], folder: str, environment: dict[str, str]) -> NoReturn:
    """As the program of its own that it stands for, but for the seconds in which Python would take all modules apart."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    status: object = 0
    try:
        runpy.run_path(str(Path(__file__).with_name("moments.py")))
        if Path(arguments[0]).name == "medkd":
            from medkd.cli import main

            sys.argv = arguments
            status = main()
        else:
            sys.argv = arguments[2:]
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code
    except BaseException:  # noqa: BLE001 - as at the end of a program
        status = 1
        sys.excepthook(*sys.exc_info())
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


def _in_its_place(command: list[str], extra_env: dict[str, str], **_: object) -> NoReturn:
    """The program that ``mlflow server`` starts, not beside it and not cold."""
    os.environ.update(extra_env)
    sys.argv = command[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    _serve(sys.argv[1])
