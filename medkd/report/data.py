"""What a datalist says of the images that a student was trained and tested on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medkd.datasets.datalist import SECTIONS
from medkd.files import sha256
from medkd.report.material import Data

__all__ = ["read_data"]


def read_data(dataset_dir: str | Path | None) -> tuple[Data, str] | None:
    """The datalist, and its word for what ``patient`` tells apart; ``None`` where there is none any more.

    Unlike a training, a report takes a datalist that shares patients between its sections: it says so.

    Args:
        dataset_dir: the prepared dataset.
    """
    path = Path(dataset_dir or "") / "datalist.json"
    if not dataset_dir or not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    patients = {section: [item.get("patient") for item in content.get(section, [])] for section in SECTIONS}
    known = {*patients["training"], *patients["validation"]} - {None}
    test = content.get("test", [])
    seen = sum(bool(item.get("seen")) or item.get("patient") in known for item in test)
    sections = {name: (len(own), len(set(own)) if own and None not in own else None) for name, own in patients.items()}
    name = str(content.get("name", path.parent.name))
    return Data(name, sha256(path), sections, seen), str(content.get("patients", "patients"))
