"""One check of a verdict, and which of several counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["STATES", "Check", "worst"]

STATES = ("pass", "caution", "open", "fail")


@dataclass(frozen=True)
class Check:
    """One thing that a verdict depends on.

    Attributes:
        name: in a word or two.
        state: ``pass``; ``caution``: deploy, but know this; ``open``: not told by these data; ``fail``.
        brief: what was found, as a part of a sentence about the student.
        rule: what had to be found for it to pass.
        kind: ``scores``, ``trust`` or ``data``.
        more: what else a reader should know of it.
    """

    name: str
    state: str
    brief: str
    rule: str
    kind: str
    more: str = ""

    @property
    def finding(self) -> str:
        """All that was found."""
        return f"{self.brief}; {self.more}" if self.more else self.brief


def worst(checks: Sequence[Check]) -> str:
    """The state of the worst check."""
    return max((check.state for check in checks), key=STATES.index)
