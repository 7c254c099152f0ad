"""Whether a retrained student is better than the one that is served."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medkd.bundle.validation import key_score

__all__ = ["POLICIES", "compare"]

POLICIES = ("better", "always", "never")


def compare(present: Path, retrained: Path, validation: Mapping[str, Any], *, policy: str) -> dict[str, Any]:
    """Score two versions of a bundle on the same validation data, and decide which to serve.

    Args:
        present: the version that is served.
        retrained: the other one.
        validation: keys of ``train.yaml`` to set, ``validate#dataset#data`` among them.
        policy: of ``POLICIES``: ``"better"`` takes the retrained one where it scores higher; nothing is better where there
            are no validation data.

    Returns:
        ``promoted`` and its ``reason``; where there are validation data also the name of the ``metric``, ``score`` and
        ``present_score``.
    """
    scores = [key_score(version, validation) for version in (present, retrained)]
    decision: dict[str, Any] = {"present": present.name, "policy": policy}
    if None in scores:
        reason = "there are no validation data to compare it on"
        return {"promoted": policy == "always", "reason": reason, **decision}
    (metric, before), (_, after) = scores  # type: ignore[misc] # neither is None
    better = not math.isnan(after) and not after <= before
    decision |= {"metric": metric, "score": after, "present_score": before}
    reason = f"it {'scores higher than' if better else 'does not score higher than'} the one that was served"
    return {"promoted": policy == "always" or (policy == "better" and better), "reason": reason, **decision}
