"""The map of one slide while it is made: a file of bytes, a journal of finished tiles, and the settings.

All three lie in the hidden folder ``.NAME.partial`` beside the result. Bytes are written in place with seek and write,
not through a memory map, whose pages would count as this process's memory. A tile joins the journal when its bytes are
on the disk; so whatever ends a run, the next one does the tiles that are missing and no other.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medkd.files import atomic_path
from medkd.slides.grid import Grid
from medkd.slides.plan import MAP_SUFFIX, SlidePlan
from medkd.slides.pyramid import read_settings

__all__ = ["ProbabilityMap", "core_bytes", "naming"]


class ProbabilityMap:
    """A map of bytes, 0 to 255 for probabilities 0 to 1; 0 where no tile was looked at.

    Args:
        plan: the slide and its tiles.
        output_dir: folder of the results.
        settings: what the map depends on besides the plan, e.g. the digest of the weights; JSON.

    Raises:
        ValueError: if there is a map of this name already, whole or begun, with other settings.
    """

    def __init__(self, plan: SlidePlan, output_dir: str | Path, settings: Mapping[str, Any]) -> None:
        self.plan = plan
        self.settings: dict[str, Any] = json.loads(json.dumps({**settings, **plan.settings()}))
        self.path = Path(output_dir) / f"{plan.path.stem}{MAP_SUFFIX}"
        self.folder = self.path.with_name(f".{plan.path.stem}.partial")
        self._done = np.zeros(int(np.prod(plan.grid.shape)), bool)
        if self.whole:
            self._refuse_others(self.path, read_settings(self.path))
            self._done[:] = True
        elif (self.folder / "settings.json").is_file():
            begun = json.loads((self.folder / "settings.json").read_text(encoding="utf-8"))
            self._refuse_others(self.folder, begun)
            self._done[self._journal()] = True

    @property
    def whole(self) -> bool:
        """Whether the result is there; it is put there last of all."""
        return self.path.is_file()

    @property
    def remaining(self) -> NDArray[np.int64]:
        """Numbers of the tiles that are still to be done, in order."""
        remaining: NDArray[np.int64] = self.plan.tiles[~self._done[self.plan.tiles]]
        return remaining

    @property
    def raw(self) -> Path:
        """The file of bytes, ``grid.map_shape`` row by row."""
        return self.folder / "map.u8"

    def write(self, tiles: Sequence[int], cores: NDArray[np.uint8]) -> None:
        """Write the cores of tiles, then note in the journal that they are done.

        Args:
            tiles: their numbers.
            cores: ``[N, side, side]`` with a side of ``core / map_downsample``; cut where the map ends.

        Raises:
            OSError: if they cannot be written, with the file; what was done before is kept.
        """
        with naming(self.folder):
            self._begin()
            with self.raw.open("r+b", buffering=0) as file:
                for number, core in zip(tiles, cores, strict=True):
                    self._write_core(file, number, core)
                os.fsync(file.fileno())
            with (self.folder / "journal").open("ab") as journal:
                journal.write(np.asarray(tiles, "<i8").tobytes())
                journal.flush()
                os.fsync(journal.fileno())
        self._done[np.asarray(tiles)] = True

    def remove(self) -> None:
        """Remove the working folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self) -> None:
        """Make the working folder; its settings come last, and without them it counts for nothing."""
        if (self.folder / "settings.json").is_file():
            return
        self.remove()
        self.folder.mkdir(parents=True)
        with self.raw.open("wb") as file:
            file.truncate(int(np.prod(self.plan.grid.map_shape)))
        with atomic_path(self.folder / "settings.json") as partial:
            partial.write_text(json.dumps(self.settings, indent=2) + "\n", encoding="utf-8")

    def _write_core(self, file: Any, number: int, core: NDArray[np.uint8]) -> None:
        top, left, rows, columns = self.plan.grid.core_box(number)
        width = self.plan.grid.map_shape[1]
        for row in range(rows):
            file.seek((top + row) * width + left)
            rest = memoryview(core[row, :columns].tobytes())
            while rest:  # a full disk takes a part first, and complains about the rest
                rest = rest[file.write(rest) :]

    def _journal(self) -> NDArray[np.int64]:
        """Numbers of the finished tiles; of an entry that was cut short, nothing is kept."""
        path = self.folder / "journal"
        if not path.is_file():
            return np.empty(0, np.int64)
        entries = path.stat().st_size // 8
        os.truncate(path, entries * 8)
        return np.fromfile(path, "<i8").astype(np.int64)

    def _refuse_others(self, place: Path, found: Mapping[str, Any]) -> None:
        if found == self.settings:
            return
        keys = sorted(k for k in {*found, *self.settings} if found.get(k) != self.settings.get(k))
        told = "; ".join(f"{key} {self.settings.get(key)}, found {found.get(key)}" for key in keys)
        raise ValueError(f"{place}: made with other settings; remove it or name another output. Expected {told}")


def core_bytes(probability: Tensor, grid: Grid) -> NDArray[np.uint8]:
    """The map's pixels of cores, from what the network gives for them with the halo around.

    Args:
        probability: ``[N, 1, rows, columns]``, 0 to 1.
        grid: tells the halo, and how many pixels are averaged to one of the map.

    Returns:
        ``[N, rows, columns]``, 0 to 255.

    Raises:
        ValueError: for values that are no probabilities.
    """
    rows, columns = (slice(grid.halo, side - grid.halo) for side in probability.shape[-2:])
    core = torch.as_tensor(probability).as_subclass(Tensor)[..., rows, columns]
    pooled = F.avg_pool2d(core.float(), grid.map_downsample)[:, 0]
    if not bool(((pooled > -1e-3) & (pooled < 1 + 1e-3)).all()):  # NaN is not between them either
        raise ValueError(f"expected probabilities from 0 to 1, got {pooled.min().item():g} to {pooled.max().item():g}")
    bytes_: NDArray[np.uint8] = (pooled.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return bytes_


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say where a write failed: the errors of ``write`` and ``fsync`` do not."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:  # it says so itself
            raise
        told = f"{os.strerror(error.errno)}; finished tiles are kept: make space and run the same command again"
        raise OSError(error.errno, told, str(path)) from error
