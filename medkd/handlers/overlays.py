"""Pictures of the same few cases after every validation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from numpy.typing import NDArray
from torch import Tensor

from medkd.visualise import read_image, save_overlay

__all__ = ["Overlays"]


class Overlays:
    """Write ``epoch_0005.png``, or ``NAME.png``: label and predictions over the first cases of an evaluation.

    Args:
        output_dir: folder of the pictures.
        keys: for each title the key of a map in the engine's output, in the image's own grid: one-hot ``[K, *spatial]``, or
            the probability ``[1, *spatial]``, whose mask is that at the epoch's metric ``threshold`` (0.5 without one).
        cases: how many cases to show; the same every time.
        anonymous: title them ``case 1``, ``case 2``, … without the names of their files.
        name: of the picture; without one every epoch has its own.
    """

    def __init__(
        self,
        output_dir: str,
        keys: Mapping[str, str],
        *,
        cases: int = 3,
        anonymous: bool = False,
        name: str | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.keys = dict(keys)
        self.cases = cases
        self.anonymous = anonymous
        self.name = name
        self._rows: dict[str, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator whose output is decollated."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda _: self._rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)

    def __call__(self, engine: Engine) -> None:
        """Keep the first cases; only the first process does."""
        if getattr(engine.state, "rank", 0) > 0:
            return
        output: Any = engine.state.output
        batch: Any = engine.state.batch
        for item, source in zip(output, batch, strict=True):
            if len(self._rows) >= self.cases:
                return
            path = str(source["image"].meta["filename_or_obj"])
            masks = {title: _classes(item[key]) for title, key in self.keys.items() if key in item}
            # The network's input is resampled and normalised; a reader wants to see the image itself.
            number, name = len(self._rows) + 1, Path(path).name.split(".")[0]
            title = f"case {number}" if self.anonymous else f"{number}: {name}"  # two cases may have one file name
            image, shape = read_image(path, source["image"].meta.get("region")), next(iter(masks.values())).shape
            self._rows[title] = (
                image if image.shape[-1] == 3 else image.reshape(shape),
                masks,
            )  # volumes have empty axes

    def _save(self, engine: Engine) -> None:
        threshold = engine.state.metrics.get("threshold", 0.5)
        rows = {
            title: (
                image,
                {name: m if m.dtype == np.uint8 else (m >= threshold).astype(np.uint8) for name, m in maps.items()},
            )
            for title, (image, maps) in self._rows.items()
        }
        if rows:
            save_overlay(self.output_dir / f"{self.name or f'epoch_{engine.state.epoch:04d}'}.png", rows)


def _classes(found: Tensor) -> NDArray[Any]:
    """The class of every pixel, or its probability: what the threshold is an epoch tells at its end."""
    return found[0].float().cpu().numpy() if len(found) == 1 else found.argmax(0).cpu().numpy().astype(np.uint8)
