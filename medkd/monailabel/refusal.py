"""How a request is refused."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import HTTPException

__all__ = ["refused"]

_logger = logging.getLogger(__name__)
_LONGEST = 200


def refused(what: str, expected: str, found: Any, *, status: int = 400) -> HTTPException:
    """The error to raise: the client reads it, and so does the log.

    Args:
        what: the key, or the value, that is refused.
        expected: in words.
        found: in words, or the value.
        status: of HTTP.
    """
    said = found if isinstance(found, str) else repr(found)
    message = f"{what[:_LONGEST]}: expected {expected}, found {said[:_LONGEST]}"
    _logger.warning("Refused: %s", message)
    return HTTPException(status_code=status, detail=message)
