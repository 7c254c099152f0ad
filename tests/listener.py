"""Who is told of what runs here: a listener in a program and in all that it starts.

Python runs the module ``sitecustomize`` at its start, children that are forked listen too.
"""

import os
from pathlib import Path

_LISTENER = r"""
import os, sys

def heard(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    with open(os.environ["HEARD"], "a") as file:
        file.write(f"{host}\n")

sys.addaudithook(heard)
"""
_HERE = {"127.0.0.1", "::1", "localhost", "0.0.0.0", "None"}
_TESTS = (
    "PYTEST",
    "CI",
    "GITHUB",
    "GITLAB",
    "JENKINS",
    "DO_NOT_TRACK",
)  # by which some libraries know tests, and report nothing


def of_a_user() -> dict[str, str]:
    """The environment, without what tells that tests run."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_TESTS)}


def listening(folder: Path) -> dict[str, str]:
    """Variables with which a program listens; it has a home of its own, where nobody has agreed to anything."""
    place = folder / "listener"
    place.mkdir()
    (place / "sitecustomize.py").write_text(_LISTENER)
    return {"PYTHONPATH": str(place), "HEARD": str(place / "heard.txt"), "HOME": str(folder / "home")}


def told(variables: dict[str, str]) -> set[str]:
    """The hosts beyond this machine that anybody has looked up or called."""
    heard = Path(variables["HEARD"])
    return set(heard.read_text().split()) - _HERE if heard.exists() else set()
