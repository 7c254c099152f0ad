"""Writing results so that a reader never sees half of one."""

from __future__ import annotations

from typing import Any

from monai.config import PathLike
from monai.data import NibabelWriter

from medkd.files import atomic_path

__all__ = ["AtomicNibabelWriter"]


class AtomicNibabelWriter(NibabelWriter):
    """``NibabelWriter`` that writes beside the target and renames; for ``SaveImaged(writer=…)``."""

    def write(self, filename: PathLike, verbose: bool = False, **kwargs: Any) -> None:
        """Write the NIfTI file; on any error nothing is left behind."""
        with atomic_path(str(filename)) as partial:
            super().write(partial, verbose=verbose, **kwargs)
