"""The log without patients: names of studies and DICOM identifiers become keyed hashes.

MONAI Label writes every request, path and traceback into its log, and both names of files and identifiers of series lead
to a patient.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
from collections.abc import Callable, Collection
from typing import Any

__all__ = ["hidden", "hide_studies"]

_KEY = "MEDKD_LOG_KEY"  # so that the server's trainings, other processes, say the same
_UID = re.compile(r"(?<![\w.])[0-2](?:\.\d+){5,}(?![\w])")
_TOKEN = re.compile(r"[^\s'\",:;=/\\()\[\]{}<>&|?]+")
_JOINTS = re.compile(r"([._-]+)")
_SHORTEST = 4  # a study that is called "1" says nothing, and every number would be hidden


def hide_studies(names: Callable[[], Collection[str]]) -> None:
    """Hide studies in everything that this process logs from now on, whichever logger writes it where.

    Args:
        names: gives those of the studies there are.
    """
    os.environ.setdefault(_KEY, secrets.token_hex(16))
    make = logging.getLogRecordFactory()
    traceback = logging.Formatter().formatException

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = make(*args, **kwargs)
        known = {name for name in names() if len(name) >= _SHORTEST}
        made.msg, made.args = hidden(made.getMessage(), known), None
        if made.exc_info and made.exc_info[0]:
            made.exc_text = hidden(traceback(made.exc_info), known)  # which formatters take instead
        return made

    logging.setLogRecordFactory(record)


def hidden(text: str, names: Collection[str]) -> str:
    """A text with every study's name, and every DICOM identifier, as ``study-`` and ten hexadecimal digits."""
    spaced = sorted((name for name in names if not _TOKEN.fullmatch(name)), key=len, reverse=True)
    for name in spaced:  # which a printed list may break into lines
        parts = r"[\s'\"]+".join(map(re.escape, name.split()))
        text = re.sub(parts, _hash(name), text)
    text = _TOKEN.sub(lambda found: _without_name(found[0], names), text)
    return _UID.sub(lambda found: _hash(found[0]), text)


def _without_name(token: str, names: Collection[str]) -> str:
    """A name may be that of a file, which has endings, or be joined with other words: the longest one goes."""
    parts = _JOINTS.split(token)  # words at even places, what joins them at odd ones
    for length in range(len(parts), 0, -2):
        for start in range(0, len(parts) - length + 1, 2):
            name = "".join(parts[start : start + length])
            if name in names:
                before, after = "".join(parts[:start]), "".join(parts[start + length :])
                return _without_name(before, names) + _hash(name) + _without_name(after, names)
    return token


def _hash(name: str) -> str:
    key = os.environ.get(_KEY, "").encode()
    return "study-" + hmac.new(key, name.encode(), hashlib.sha256).hexdigest()[:10]
