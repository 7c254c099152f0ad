"""Fixtures of several test modules, and how the suite is shared out between processes."""

import gc
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # two processes on two cores; and sums do not depend on the machine
os.environ["MEDKD_CACHE"] = tempfile.mkdtemp(prefix="medkd-tests-")  # not that of who runs the tests

import numpy as np
import pytest
import torch

from medkd.bundle import bundle_names
from medkd.slides import make_slide
from medkd.slides.synthetic import SyntheticSlide

from . import warm
from .stores import copy_tables

torch.set_num_threads(1)
copy_tables()

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _left_as_it_was() -> Iterator[None]:
    """Where MLflow tracks is a setting of the whole process: a test that left it would send the next one's runs elsewhere."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    assert os.environ.get("MLFLOW_TRACKING_URI") == before


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and reference numbers, where there is one."""
    place = os.environ.get("MEDKD_SHARED")
    if not place:
        pytest.skip("MEDKD_SHARED is not set: no real data here")
    return Path(place)


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of ``python`` and ``medkd`` as processes of their own, without the seconds of their imports."""
    folder = tmp_path_factory.mktemp("warm") / "bin"
    server = warm.start(folder)
    yield folder
    server.kill()
    server.wait()


@pytest.fixture(scope="session")
def bundles() -> Path:
    return ROOT / "bundles"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SyntheticSlide]:
    """A slide of 900 rows and 1300 columns, with the ring of tumour."""
    path = tmp_path_factory.mktemp("slide") / "ring.tif"
    return path, make_slide(path, (900, 1300))


@pytest.fixture(scope="session")
def truth(made: tuple[Path, SyntheticSlide]) -> np.ndarray:
    """Classes of every level-0 pixel of the slide."""
    size = made[1].size
    return made[1].classes(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)


_METHODS = "|".join(name.partition("_")[0] for name in bundle_names())
# What takes longest comes first, so that the processes end together.
_FIRST = (
    "test_demo",
    "case kdas",
    "test_faults",
    "case ikdmil",
    "case confkd",
    "test_commands",
    "test_tracking_client",
    "test_sync",
    "test_how_to",
)


def _group(nodeid: str) -> str:
    """What one process runs, so that its fixtures are made once: a file, or all tests of a bundle's case."""
    file, _, test = nodeid.partition("::")
    case = re.search(rf"[\[-]({_METHODS})[\]-]", test)
    return f"case {case[1]}" if case and "/bundles/" in file and "test_demo" not in file else Path(file).stem


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {group: place for place, group in enumerate(_FIRST)}
    items.sort(key=lambda item: order.get(_group(item.nodeid), len(order)))


def pytest_collection_finish() -> None:
    gc.freeze()  # what is imported stays: a collection need not go through all of it


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):  # its own groups, "loadgroup", need an attribute that pytest 9 has no more
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    config.option.loadscopereorder = False
    return ByGroup(config, log)
