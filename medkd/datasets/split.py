"""Who is trained on, who is validated and who is tested on: never a patient in two sections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["split_patients"]


def split_patients(patients: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """The section of every patient: at random, until a section has its share of the images; the rest is for training.

    Args:
        patients: the patient (or sequence, or slide) of every image; to share out patients however many images they
            have, give each once.
        shares: of the images, in (0, 1), for each section but training, which needs the rest. Every section gets a
            patient at least.
        seed: of the order.

    Returns:
        The sections, patients in the order in which they were drawn.

    Raises:
        ValueError: for a share out of range, or if no patient is left for training.
    """
    strange = {section: share for section, share in shares.items() if not 0 < share < 1}
    if strange:
        raise ValueError(f"expected shares in (0, 1), got {strange}")
    count = Counter(patients)
    names = sorted(count)
    left = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    chosen: dict[str, str] = {}
    for section, share in shares.items():
        taken: list[str] = []
        room = share * len(patients)
        for name in left:
            if count[name] < 2 * room:  # taking it brings the section nearer to its share
                taken.append(name)
                room -= count[name]
        taken = taken or sorted(left, key=lambda name: count[name])[:1]
        chosen |= dict.fromkeys(taken, section)
        left = [name for name in left if name not in taken]
    if not left:
        raise ValueError(
            f"expected shares that leave patients for training, got {dict(shares)} of {len(names)} patients"
        )
    return chosen | dict.fromkeys(left, "training")
