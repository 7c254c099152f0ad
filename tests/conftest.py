"""Fixtures of several test modules."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and reference numbers, where there is one."""
    place = os.environ.get("MEDKD_SHARED")
    if not place:
        pytest.skip("MEDKD_SHARED is not set: no real data here")
    return Path(place)


@pytest.fixture(scope="session")
def bundles() -> Path:
    return ROOT / "bundles"
