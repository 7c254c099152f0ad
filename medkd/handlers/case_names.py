"""What cases are called in every table of an evaluation, and the numbers that stand for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["named", "numbered", "patients"]


def named(source: Mapping[str, Any]) -> dict[str, str]:
    """A case, as the handlers name it that write ``cases.csv``.

    Args:
        source: the item of the batch, with the meta data of its ``image``.

    Returns:
        ``case``, ``patient`` and, where images are cut into parts, ``location``, otherwise empty.
    """
    meta = source["image"].meta
    case = Path(str(meta["filename_or_obj"])).name
    place = " ".join(str(int(number)) for number in meta.get("region", [])[:2])
    return {"case": case, "location": place, "patient": str(source.get("patient", source.get("region", case)))}


def numbered(names: pd.DataFrame) -> list[int]:
    """A number for each case, from 1 on: the same for every table of the same cases, in whatever order they stand.

    Args:
        names: a row per case: ``case``, ``patient`` and, where images are cut into parts, ``location``.
    """
    place = names["location"].astype(str) if "location" in names else pd.Series("", index=names.index)
    keys = pd.DataFrame({"case": names["case"], "place": place, "patient": names["patient"].astype(str)})
    again = keys.sort_values("patient", kind="stable").groupby(["case", "place"]).cumcount()
    ordered = keys.assign(again=again).sort_values(["case", "place", "again"])
    numbers: list[int] = pd.Series(range(1, len(ordered) + 1), index=ordered.index).reindex(names.index).tolist()
    return numbers


def patients(names: Sequence[str], numbers: Sequence[int]) -> dict[str, str]:
    """Numbers of patients, in the order of their cases."""
    ordered = [name for _, name in sorted(zip(numbers, names, strict=True))]
    return {name: f"patient {place}" for place, name in enumerate(dict.fromkeys(ordered), start=1)}
