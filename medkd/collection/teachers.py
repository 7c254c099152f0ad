"""A teacher that travels as its settings: each process that asks it loads it once."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from medkd.teaching import ConfiguredTeacher, load_teacher

__all__ = ["TravellingTeacher"]


@dataclass(frozen=True)
class TravellingTeacher:
    """A ``Teacher`` for ``teach`` on several workers.

    Attributes:
        path: the bundle's folder or the configuration, absolute.
        trust: run the code that stands in it.
        device: of the network; ``None``: the GPU of the machine, if it has one.
        activation: as for ``load_teacher``.
        identity: of the teacher; one that has changed since is refused.
    """

    path: str
    trust: bool
    device: str | None
    activation: str | None
    identity: dict[str, str]

    @classmethod
    def of(
        cls, path: str | Path, *, trust: bool = False, device: str | None = None, activation: str | None = None
    ) -> TravellingTeacher:
        """Load it once, to see whether it can be, and which it is; arguments and errors are those of ``load_teacher``."""
        identity = load_teacher(path, trust=trust, activation=activation).identity
        return cls(str(Path(path).resolve()), trust, device, activation, identity)

    def predict(self, image: str | Path) -> Tensor:
        """As ``ConfiguredTeacher.predict``.

        Raises:
            RuntimeError: if the files that this process finds are not those that the identity was made of.
        """
        return self._loaded().predict(image)

    def _loaded(self) -> ConfiguredTeacher:
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        return _load(self.path, self.trust, device, self.activation, tuple(self.identity.items()))


@functools.lru_cache(maxsize=16)  # of an ensemble all; a worker may serve many commands
def _load(
    path: str, trust: bool, device: str, activation: str | None, identity: tuple[tuple[str, str], ...]
) -> ConfiguredTeacher:
    loaded = load_teacher(path, trust=trust, device=device, activation=activation)
    if loaded.identity != dict(identity):
        raise RuntimeError(f"{path}: expected the teacher that was there when this began, found another")
    return loaded
