"""How a request is refused."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import HTTPException

__all__ = ["refused"]

_logger = logging.getLogger(__name__)
_LONGEST = 200


def refused(what: str, expected: str, found: Any, *, status: int = 400) -> HTTPException:
    """The error to raise; the client reads what was found, and the log, where it may name a patient, does not.

    Args:
        what: the key that is refused.
        expected: in words.
        found: in words, or the value.
        status: of HTTP.
    """
    said = found if isinstance(found, str) else repr(found)
    problem = f"{what[:_LONGEST]}: expected {expected}"
    _logger.warning("Refused: %s", problem)
    return HTTPException(status_code=status, detail=f"{problem}, found {said[:_LONGEST]}")
