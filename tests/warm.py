"""``python -m monai.bundle`` and ``medkd`` for a shell, without the seconds in which each imports MONAI.

A program that has imported all of it forks a child for every command: with the command's own arguments, folder,
environment and output, it runs what the command would run. Any other ``python`` is the real one.
"""

import atexit
import json
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

_SHIM = """#!{python} -IS
import json, os, socket, sys
name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
if name == "python" and arguments[:2] != ["-m", "monai.bundle"]:
    os.execv({python!r}, [{python!r}, *arguments])
call = socket.socket(socket.AF_UNIX)
call.connect({address!r})
socket.send_fds(call, [json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()], [1, 2])
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
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import monai.bundle  # noqa: F401
    import onnxscript  # noqa: F401
    import torch

    import medkd.bundle
    import medkd.cli
    import medkd.handlers  # noqa: F401

    torch.set_num_threads(1)
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        listener.settimeout(5)
        os.write(1, b"ready\n")
        while os.getppid() == parent:  # not longer than the tests
            try:
                call, _ = listener.accept()
            except TimeoutError:
                continue
            message, outputs, *_ = socket.recv_fds(call, 1 << 20, 2)
            child = os.fork()
            if not child:
                for number, output in enumerate(outputs, start=1):
                    os.dup2(output, number)
                _run(*json.loads(message))
            for output in outputs:
                os.close(output)
            _, status = os.waitpid(child, 0)
            call.sendall(str(os.waitstatus_to_exitcode(status)).encode())
            call.close()


def _run(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """As the program of its own that it stands for, but for the seconds in which Python would take all modules apart."""
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
            runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code
    except BaseException:  # noqa: BLE001 - as at the end of a program
        status = 1
        sys.excepthook(*sys.exc_info())
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    _serve(sys.argv[1])
