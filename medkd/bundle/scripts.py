"""Code that a bundle brings along: MONAI's bundles keep it in ``scripts``, which their configurations name."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["find_scripts"]


def find_scripts(bundle: str | Path) -> None:
    """Let configurations of a bundle find its ``scripts``, as they do in its own folder; those of another are forgotten."""
    folder = Path(bundle).resolve()
    if not (folder / "scripts").is_dir():
        return
    sys.path[:] = [str(folder), *(path for path in sys.path if path != str(folder))]
    known = [Path(place).resolve() for place in getattr(sys.modules.get("scripts"), "__path__", [])]
    if folder / "scripts" not in known:
        for name in [name for name in sys.modules if name.partition(".")[0] == "scripts"]:
            del sys.modules[name]
