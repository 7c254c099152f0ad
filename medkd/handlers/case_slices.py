"""What a report needs of every case, kept while its probabilities are there: numbers, and one slice as a picture."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from ignite.engine import Engine, Events
from numpy.typing import NDArray

from medkd.distributed import gathered
from medkd.files import atomic_path
from medkd.handlers.case_names import named, numbered, patients
from medkd.metrics.spacing import known_spacing
from medkd.metrics.trust import entropy_share, islands, reliability
from medkd.visualise import read_image, small_slice

__all__ = ["CaseSlices"]

Array = NDArray[Any]
_ACTIVATIONS = ("softmax", "sigmoid", "none")
_NAMES = ("case", "location", "patient")


class CaseSlices:
    """Write what ``medkd report`` says of trust: ``trust.csv`` and a file for each case in ``slices/``.

    ``trust.csv`` has a row per case, branch and class: the volumes of truth, prediction and what both share (``unit``: ml, mm² or,
    where the spacing is not known, voxels or pixels), how many islands are predicted, with none of the truth in them
    (``false_islands``) and missed, the mean ``entropy`` of all pixels and that of those predicted as the class, as shares of the largest there can be, and for
    ten bins of the class's probability how many pixels there are, the sum of their probabilities, and how many are of the class
    (``medkd.metrics.trust.reliability``). All of it over every annotated pixel of the case, in its own grid.

    ``slices/0001.npz`` holds one slice, the one with the most foreground in the truth, so that every network's evaluation
    shows the same: the ``image`` as JPEG, ``truth``, and of each branch its ``classes`` and ``uncertainty`` (the entropy in
    8 bits), no side longer than 192. The file's number is the ``number`` of ``trust.csv``.

    Args:
        output_dir: of the evaluation.
        class_names: names of the classes from 1 on.
        branches: for each branch the key of its prediction in the engine's output: one-hot ``[K, *spatial]``, or the
            probability ``[1, *spatial]``, whose mask is that above ``threshold``.
        probabilities: for each branch the key of what its classes were made of: ``[K, *spatial]``, or ``[1, *spatial]`` of the
            only class.
        activation: what makes that probabilities: ``softmax``, ``sigmoid`` or ``none``.
        threshold: of a prediction that is a probability.
        label_key: key of the truth in the engine's output, or else in its batch: one-hot ``[K, *spatial]`` or a mask ``[1, *spatial]``.
        unannotated_values: pixels with one of these in the batch's own label are left out.
        anonymous: write numbers in place of the names of cases and patients.
        pictures: of how many cases at most there is a slice, about 10 kB each: of the first ones.

    Raises:
        ValueError: for another activation, or branches of which no probability is named.
    """

    def __init__(
        self,
        output_dir: str,
        class_names: Sequence[str],
        branches: Mapping[str, str],
        probabilities: Mapping[str, str],
        *,
        activation: str = "none",
        threshold: float = 0.5,
        label_key: str = "label",
        unannotated_values: Collection[int] = (),
        anonymous: bool = False,
        pictures: int = 2000,
    ) -> None:
        if activation not in _ACTIVATIONS:
            raise ValueError(f"activation: expected one of {', '.join(_ACTIVATIONS)}, found {activation!r}")
        if missing := [branch for branch in branches if branch not in probabilities]:
            raise ValueError(f"probabilities: expected those of {', '.join(missing)} too, found {list(probabilities)}")
        self.output_dir, self.class_names = Path(output_dir), list(class_names)
        self.branches, self.probabilities = dict(branches), dict(probabilities)
        self.activation, self.threshold, self.label_key = activation, threshold, label_key
        self.unannotated_values, self.anonymous, self.pictures = tuple(unannotated_values), anonymous, pictures
        self._cases: list[_Case] = []

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator whose output is decollated."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda _: self._cases.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)

    def __call__(self, engine: Engine) -> None:
        """Take the numbers and the slice of the cases of one iteration."""
        output: Any = engine.state.output
        batch: Any = engine.state.batch
        for item, source in zip(output, batch, strict=True):
            self._cases.append(self._case(item, source))

    def _case(self, item: Mapping[str, Any], source: Mapping[str, Any]) -> _Case:
        label = item[self.label_key] if self.label_key in item else source[self.label_key]
        truth, known = _classes(label, 0.5), self._annotated(source)
        rows, maps = [], {"truth": truth}
        for branch, key in self.branches.items():
            if key not in item:
                continue
            found = _classes(item[key], self.threshold)
            soft = _probabilities(item[self.probabilities[branch]], self.activation)
            entropy = entropy_share(soft)
            rows += [{"branch": branch, **row} for row in self._rows(found, truth, soft, entropy, known, label)]
            maps |= {f"{branch}_classes": found, f"{branch}_uncertainty": np.rint(255 * entropy).astype(np.uint8)}
        meta = source["image"].meta
        path, region = str(meta["filename_or_obj"]), meta.get("region")
        pictured = len(self._cases) < self.pictures
        return _Case(named(source), path, rows, small_slice(read_image(path, region), maps) if pictured else {})

    def _annotated(self, source: Mapping[str, Any]) -> Array | None:
        """Where the truth is known; ``None``: everywhere."""
        if not self.unannotated_values:
            return None
        known: Array = ~np.isin(_array(source[self.label_key])[0], self.unannotated_values)
        return None if known.all() else known

    def _rows(
        self, found: Array, truth: Array, soft: Array, entropy: Array, known: Array | None, label: Any
    ) -> list[dict[str, Any]]:
        size, unit = _pixel(label)
        rows = []
        for number, name in enumerate(self.class_names, start=1):
            predicted, true = found == number, truth == number
            where = slice(None) if known is None else known
            table = reliability(soft[number][where], true[where])
            row: dict[str, Any] = {"class": name, "unit": unit}
            for key, mask in (("truth", true), ("predicted", predicted), ("overlap", predicted & true)):
                row[f"{key}_volume"] = float(mask.sum() * size)
            counts = islands(predicted, true)
            row |= {"islands": counts.predicted, "false_islands": counts.false, "missed_islands": counts.missed}
            row["entropy"] = float(entropy[where].mean())
            row["entropy_inside"] = float(entropy[predicted].mean()) if predicted.any() else float("nan")
            for kind, values in zip(("pixels", "probability", "right"), table, strict=True):
                row |= {f"{kind}_{place}": value for place, value in enumerate(values)}
            rows.append(row)
        return rows

    def _report(self, engine: Engine) -> None:
        unique = {(case.path, *case.name.values()): case for case in reversed(gathered(self._cases))}
        cases = [unique[key] for key in reversed(unique)]  # samplers may deal a case to two processes
        if getattr(engine.state, "rank", 0) > 0 or not cases:
            return
        numbers = numbered(pd.DataFrame([case.name for case in cases]))
        hidden_patients = patients([case.name["patient"] for case in cases], numbers)
        rows = []
        for case, number in zip(cases, numbers, strict=True):
            hidden = {"case": f"case {number}", "location": "", "patient": hidden_patients[case.name["patient"]]}
            name = hidden if self.anonymous else case.name
            rows += [{"number": number, **name, **row} for row in case.rows]
            if case.maps:
                with (
                    atomic_path(self.output_dir / "slices" / f"{number:04d}.npz") as partial,
                    partial.open("wb") as file,
                ):
                    np.savez_compressed(file, **case.maps)
        table = pd.DataFrame(rows).sort_values(["number", "branch"], kind="stable")
        with atomic_path(self.output_dir / "trust.csv") as partial:
            table.to_csv(partial, index=False, float_format="%.6g")


class _Case(NamedTuple):
    name: dict[str, str]
    path: str
    rows: list[dict[str, Any]]
    maps: dict[str, Array]


def _array(values: Any) -> Array:
    array: Array = values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
    return array


def _classes(values: Any, threshold: float) -> Array:
    array = _array(values)
    if len(array) == 1:
        mask: Array = (array[0] > threshold).astype(np.uint8)
        return mask
    found: Array = array.argmax(0).astype(np.uint8)
    return found


def _probabilities(values: Any, activation: str) -> Array:
    """``[K, *spatial]``, with the background, as 32 bit floats."""
    found = values.detach().float().cpu()
    found = found.softmax(0) if activation == "softmax" else found.sigmoid() if activation == "sigmoid" else found
    array: Array = found.numpy().clip(0, 1)
    return np.concatenate([1 - array, array]) if len(array) == 1 else array


def _pixel(label: Any) -> tuple[float, str]:
    """The size of a pixel and its unit."""
    spacing, unit = known_spacing(label)
    if unit == "mm":
        return (float(np.prod(spacing)) / 1000, "ml") if len(spacing) == 3 else (float(np.prod(spacing)), "mm²")
    return 1.0, "voxels" if len(spacing) == 3 else "pixels"
