"""Pictures of a few cases: the same after every validation, the worst of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from numpy.typing import NDArray
from torch import Tensor

from medkd.visualise import read_image, save_overlay

__all__ = ["Overlays"]


class Overlays:
    """Write ``epoch_0005.png``, or ``NAME.png``: label and predictions over a few cases of an evaluation.

    Args:
        output_dir: folder of the pictures.
        keys: for each title the key of a map in the engine's output or batch, in the image's own grid: one-hot
            ``[K, *spatial]``, or the probability ``[1, *spatial]``, whose mask is that at the epoch's metric ``threshold``.
        cases: how many cases to show: the first, which are the same every time.
        worst: show those instead whose second map agrees least with the first, by the mean Dice over classes, the worst first.
        threshold: of probabilities, for that, and where the epoch has no such metric.
        anonymous: title them ``case 1``, ``case 2``, … without the names of their files.
        name: of the picture; without one every epoch has its own.
    """

    def __init__(
        self,
        output_dir: str,
        keys: Mapping[str, str],
        *,
        cases: int = 3,
        worst: bool = False,
        threshold: float = 0.5,
        anonymous: bool = False,
        name: str | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.keys = dict(keys)
        self.cases, self.worst, self.threshold = cases, worst, threshold
        self.anonymous = anonymous
        self.name = name
        self._rows: list[_Row] = []
        self._seen = 0

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator whose output is decollated."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)

    def _begin(self, engine: Engine) -> None:
        self._rows, self._seen = [], 0

    def __call__(self, engine: Engine) -> None:
        """Keep the cases to show; only the first process does."""
        if getattr(engine.state, "rank", 0) > 0:
            return
        output: Any = engine.state.output
        batch: Any = engine.state.batch
        for item, source in zip(output, batch, strict=True):
            self._seen += 1
            if len(self._rows) < self.cases or self.worst:
                found = {title: item.get(key, source.get(key)) for title, key in self.keys.items()}
                maps = {title: torch.as_tensor(one) for title, one in found.items() if one is not None}
                agreement = self._agreement(*maps.values()) if self.worst else 0.0
                row = _Row(
                    agreement, self._seen, source["image"].meta, {title: _classes(m) for title, m in maps.items()}
                )
                self._rows = sorted([*self._rows, row], key=lambda row: row.agreement)[: self.cases]

    def _save(self, engine: Engine) -> None:
        threshold = engine.state.metrics.get("threshold", self.threshold)
        rows = {self._title(row): (row.image(), row.masks(threshold)) for row in self._rows}
        if rows:
            save_overlay(self.output_dir / f"{self.name or f'epoch_{engine.state.epoch:04d}'}.png", rows)

    def _agreement(self, truth: Tensor, prediction: Tensor, *_: Tensor) -> float:
        """The mean Dice over the classes that either has, 1 where there is none."""
        pair = [
            (one >= self.threshold if len(one) == 1 else one[1:] > 0).flatten(1).double() for one in (truth, prediction)
        ]
        shared, size = 2 * (pair[0] * pair[1]).sum(1), pair[0].sum(1) + pair[1].sum(1)
        return float((shared / size)[size > 0].mean()) if bool((size > 0).any()) else 1.0

    def _title(self, row: _Row) -> str:
        """Numbered, for two cases may have one file name."""
        name = Path(str(row.meta["filename_or_obj"])).name.split(".")[0]
        title = f"case {row.number}" if self.anonymous else f"{row.number}: {name}"
        return f"{title}, Dice {row.agreement:.2f}" if self.worst else title


@dataclass(frozen=True)
class _Row:
    agreement: float
    number: int
    meta: Mapping[str, Any]
    maps: Mapping[str, NDArray[Any]]

    def image(self) -> NDArray[Any]:
        """As it is in its file: the network's input is resampled and normalised, and a reader wants to see the image itself."""
        image = read_image(str(self.meta["filename_or_obj"]), self.meta.get("region"))
        shape = next(iter(self.maps.values())).shape
        return image if image.shape[-1] == 3 else image.reshape(shape)  # volumes have empty axes

    def masks(self, threshold: float) -> dict[str, NDArray[Any]]:
        return {
            title: found if found.dtype == np.uint8 else (found >= threshold).astype(np.uint8)
            for title, found in self.maps.items()
        }


def _classes(found: Tensor) -> NDArray[Any]:
    """The class of every pixel, or its probability: what the threshold is an epoch tells at its end."""
    return found[0].float().cpu().numpy() if len(found) == 1 else found.argmax(0).cpu().numpy().astype(np.uint8)
