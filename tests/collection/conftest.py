"""Where tasks run, and a bundle for slides."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
import torch

from medkd.bundle import copy_bundle
from medkd.collection import open_cluster


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """As ``medkd collection --workers 2`` starts it."""
    with open_cluster(workers=2) as client:
        yield client


@pytest.fixture(scope="session")
def scheduler() -> Iterator[str]:
    """The address of one that runs, as others start it; its worker imports what it needs once for all tests."""
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"}),
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0) as cluster,
    ):
        yield cluster.scheduler_address


NETWORK = {"_target_": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 1, "kernel_size": 1}
SETTINGS = {"downsample": 1, "tile_size": 160, "halo": 16, "batch_size": 2}
SETTINGS |= {f"network_def#{key}": value for key, value in NETWORK.items()}


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of one layer whose output lies between 0 and 1."""
    folder = copy_bundle("ikdmil", tmp_path_factory.mktemp("bundle") / "tumour")
    network = torch.nn.Conv2d(3, 1, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([0.05, -0.1, 0.05])[None, :, None, None])
        network.bias.fill_(0.5)
    (folder / "models").mkdir()
    torch.save({"model": network.state_dict()}, folder / "models" / "model.pt")
    return folder
