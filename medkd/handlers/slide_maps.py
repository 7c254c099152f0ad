"""Network output on tiles becomes probability maps of slides (imported by itself: OpenSlide is an extra)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from numpy.typing import NDArray
from torch import Tensor

from medkd.slides.probability_map import ProbabilityMap, core_bytes
from medkd.slides.results import finish_map

__all__ = ["SlideMaps"]


class SlideMaps:
    """Write the cores of tiles into the maps of their slides, and finish every slide as soon as it is complete.

    Args:
        maps: the maps that ``SlideTiles`` has its tiles from.
        pred_key: key of the probability ``[1, tile_size, tile_size]`` in the engine's output, 0 to 1.
        threshold: probability from which on the contours include.
        class_name: of the contours.
    """

    def __init__(
        self,
        maps: Sequence[ProbabilityMap],
        *,
        pred_key: str = "pred",
        threshold: float = 0.5,
        class_name: str = "tumour",
    ) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"expected a threshold between 0 and 1, got {threshold}")
        self.maps = list(maps)
        self.pred_key, self.threshold, self.class_name = pred_key, threshold, class_name
        self._logger = logging.getLogger(__name__)

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator whose output is decollated."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def finish(self) -> None:
        """Finish the slides whose tiles an earlier run has done; to be called before the evaluator runs."""
        for made in self.maps:
            if not len(made.remaining):
                self._finish(made)

    def __call__(self, engine: Engine) -> None:
        """Write the tiles of one iteration."""
        output: Any = engine.state.output
        batch: Any = engine.state.batch
        by_slide: dict[int, list[int]] = {}
        for index, source in enumerate(batch):
            by_slide.setdefault(int(source["slide"]), []).append(index)
        for slide, indices in by_slide.items():
            made = self.maps[slide]
            tiles = [int(batch[index]["tile"]) for index in indices]
            made.write(tiles, _cores(torch.stack([output[index][self.pred_key] for index in indices]), made))
            if not len(made.remaining):
                self._finish(made)

    def _finish(self, made: ProbabilityMap) -> None:
        if made.whole:
            self._logger.info("%s: is there already", made.path)
        finish_map(made, threshold=self.threshold, class_name=self.class_name)
        self._logger.info("%s: finished, %d tiles", made.path, len(made.plan.tiles))


def _cores(probability: Tensor, made: ProbabilityMap) -> NDArray[np.uint8]:
    """Cores ``[N, side, side]`` of the map from the network's output ``[N, 1, tile_size, tile_size]``."""
    grid = made.plan.grid
    expected = (1, grid.tile_size, grid.tile_size)
    if tuple(probability.shape[1:]) != expected:
        raise ValueError(f"{made.plan.path}: expected predictions {expected}, got {tuple(probability.shape[1:])}")
    try:
        return core_bytes(probability, grid)
    except ValueError as error:
        raise ValueError(f"{made.plan.path}: {error}") from None
