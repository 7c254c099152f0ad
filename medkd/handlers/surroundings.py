"""Where a run computes: the machine, the packages that are installed, and the state of the code."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections import Counter
from importlib import metadata
from pathlib import Path

import psutil
import torch

__all__ = ["hardware", "packages", "versions"]


def hardware() -> dict[str, str]:
    """``cpu``, ``cores`` that the process may use, ``memory`` in GiB, and ``gpu``: names and how many of each."""
    gpus = Counter(torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count()))
    return {
        "cpu": _cpu(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "gpu": ", ".join(f"{count} × {name}" for name, count in gpus.items()) or "none",
    }


def _cpu() -> str:
    """Its name; Python knows it on no Linux."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.is_file() else None
    return named[1] if named else platform.processor() or platform.machine()


def packages() -> str:
    """What is installed, one ``name==version`` a line, as ``pip freeze`` tells it; the first of a name is what is imported."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), f"{name}=={distribution.version}")
    return "\n".join(line for _, line in sorted(found.items())) + "\n"


def versions() -> dict[str, str]:
    """``version.torch``, …: of what computes; ``git_commit`` of the folder that the run was started in, where it has one."""
    found = {f"version.{name}": metadata.version(name) for name in ("medkd", "monai", "torch", "pytorch-ignite")}
    found["version.python"] = platform.python_version()
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return found
    return {**found, "git_commit": commit.stdout.strip()}
