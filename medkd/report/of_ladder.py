"""The page of a ladder that has just been run."""

from __future__ import annotations

import logging
from pathlib import Path

from medkd.ladder.plan import Ladder
from medkd.program import cause
from medkd.report.page import write_page
from medkd.report.read import read_material

__all__ = ["report_of"]

_logger = logging.getLogger(__name__)


def report_of(ladder: Ladder, root: Path, *, anonymous: bool = False) -> list[Path]:
    """Write ``report.html`` into a ladder's folder; without it the ladder is done all the same.

    Args:
        ladder: what was run.
        root: its folder.
        anonymous: numbers instead of the names of cases and patients.

    Returns:
        The page, or nothing and a warning.
    """
    path = root / "report.html"
    try:
        write_page(read_material(root, bundle=ladder.bundle, anonymous=anonymous), path)
    except Exception as error:  # noqa: BLE001 - a bundle of one's own can lack anything that the page shows
        _logger.warning("%s could not be written: %s", path, cause(error))
        return []
    return [path]
