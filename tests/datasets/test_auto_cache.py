"""How much of a dataset is kept in memory, and how much memory there is."""

import logging

import pytest
import torch
from monai.transforms import Compose, Lambdad, RandFlipd

from medkd.datasets import AutoCacheDataset, SeededCacheDataset, auto_cache
from medkd.datasets.memory import available_memory

MIB = 2**20


def files(root, **contents):
    for name, text in contents.items():
        path = root / name.replace("__", "/").replace("DOT", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return available_memory(root)


MACHINE = {"proc__meminfo": "MemTotal: 9000 kB\nMemAvailable:    4000 kB\n"}
V2 = "sys__fs__cgroup__memoryDOT"
V1 = "sys__fs__cgroup__memory__memoryDOT"


def test_the_machine_says_what_is_available(tmp_path):
    assert files(tmp_path, **MACHINE) == 4000 * 1024


@pytest.mark.parametrize(
    "limit",
    [
        {f"{V2}max": "3000000\n", f"{V2}current": "2500000\n", f"{V2}stat": "anon 1\ninactive_file 100000\n"},
        {
            f"{V1}limit_in_bytes": "3000000\n",
            f"{V1}usage_in_bytes": "2500000\n",
            f"{V1}stat": "total_inactive_file 100000\n",
        },
    ],
    ids=["version 2", "version 1"],
)
def test_a_container_may_take_what_its_limit_leaves(tmp_path, limit):
    assert files(tmp_path, **MACHINE, **limit) == 600_000


def test_a_container_without_a_limit_has_the_machine(tmp_path):
    assert files(tmp_path, **MACHINE, **{f"{V2}max": "max\n", f"{V2}current": "5\n"}) == 4000 * 1024


def test_where_nobody_says_it_is_unknown(tmp_path):
    assert available_memory(tmp_path) is None


def test_this_machine_says_something():
    assert available_memory() > 100 * MIB


def dataset(monkeypatch, available, **options):
    """Ten items of one MiB; the transform leaves a mark of every loading."""
    monkeypatch.setattr(auto_cache, "available_memory", lambda: available)
    load = Lambdad("image", lambda n: torch.full((MIB // 4,), float(n)))
    items = [{"image": number, "name": "a text"} for number in range(10)]
    options = {"cache_rate": "auto", **options}
    return AutoCacheDataset(items, [load], progress=False, num_workers=1, **options)


@pytest.mark.parametrize(
    ("available", "processes", "kept"), [(100 * MIB, 1, 10), (9 * MIB, 1, 4), (100 * MIB, 20, 2), (MIB, 1, 0)]
)
def test_half_of_the_memory_is_filled(monkeypatch, caplog, available, processes, kept):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    with caplog.at_level(logging.INFO):
        made = dataset(monkeypatch, available)
    assert made.cache_num == kept
    assert f"{kept} of 10 items of 1.0 MiB are kept in memory" in caplog.text
    assert [float(made[number]["image"][0]) for number in range(10)] == list(range(10))


def test_where_memory_is_unknown_all_is_kept(monkeypatch):
    assert dataset(monkeypatch, None).cache_num == 10


def test_a_rate_that_is_given_is_taken(monkeypatch):
    assert dataset(monkeypatch, MIB, cache_rate=0.5).cache_num == 5


def test_another_word_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="cache_rate: expected a number from 0 to 1 or \"auto\", found 'all'"):
        dataset(monkeypatch, MIB, cache_rate="all")


@pytest.mark.parametrize("kind", [AutoCacheDataset, SeededCacheDataset])
def test_what_lies_in_a_compose_is_done_once_too(kind):
    """MONAI's ``CacheDataset`` takes a ``Compose`` for random, and does it and all that follows at every access."""
    done = []

    def step(name):
        return Lambdad("x", lambda value: done.append(name) or value + 1)

    dataset = kind(
        [{"x": torch.zeros(1, 4)}],
        Compose([Compose([step("outside"), Compose([step("inside")])]), step("after"), RandFlipd("x"), step("random")]),
        progress=False,
    )
    assert [float(dataset[0]["x"][0, 0]) for _ in range(3)] == [4, 4, 4]
    assert done == ["outside", "inside", "after", "random", "random", "random"]
