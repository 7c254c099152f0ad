"""Candidates on cases, in turns, so that what else the machine does hits all of them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from medkd.bundle import infer
from medkd.bundle.validation import key_score
from medkd.datasets import find_frames, find_studies
from medkd.efficiency.candidates import Candidate
from medkd.efficiency.watch import watch

__all__ = ["compare"]


def compare(
    networks: Sequence[Candidate],
    images: str | Path,
    *,
    threads: int = 1,
    rounds: int = 1,
    again: int = 3,
    limit: int | None = None,
    dataset_dir: str | Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
    keep: Callable[[pd.DataFrame], None] = lambda measured: None,
) -> pd.DataFrame:
    """Run every candidate on every case, each time in a fresh process.

    Args:
        networks: the candidates.
        images: a file or folder, as inference takes it.
        threads: of a process.
        rounds: how often a case is run.
        again: how often a process infers its case again, for the time without the start; >= 1.
        limit: of cases, evenly over all.
        dataset_dir: a datalist; on its validation images the bundle's key metric is computed.
        tell: is told of every process that has ended.
        keep: gets the rows so far, then too, for the next one may fail.

    Returns:
        A row per process: ``network``, ``runtime``, ``precision``, ``case``, ``seconds`` (program start to end, less what is
        inferred again), ``warm`` (seconds of a case, once it runs), ``peak`` (MiB), ``area`` (MiB·s, of the same time as
        ``seconds``), ``file`` (MB), ``parameters``, ``macs`` (of a case), and ``metric`` with ``score``.

    Raises:
        ValueError: for a number below 1, or if there are no images, or no validation images.
    """
    counts = {"threads": threads, "rounds": rounds, "again": again, "limit": 1 if limit is None else limit}
    problems = [f"{name}: expected at least 1, got {value}" for name, value in counts.items() if value < 1]
    if problems:
        raise ValueError("; ".join(problems))
    pictures = networks[0].read().pictures
    cases = [item["image"] for item in (find_frames if pictures else find_studies)(images)]
    chosen = cases[:: -(-len(cases) // limit)] if limit else cases
    sizes = {(one.bundle, one.model): _sizes(one, chosen[0]) for one in networks}
    known = {one: {**_known(one, dataset_dir), **sizes[one.bundle, one.model]} for one in networks}
    rows = []
    for number in range(rounds):
        for case in chosen:
            for one in networks if number % 2 == 0 else reversed(networks):
                times = _measured(one, case, threads, again)
                rows.append({**known[one], "case": Path(case).name, **times})
                keep(pd.DataFrame(rows))
                tell(f"{one.name}, {one.runtime} {one.precision}, {Path(case).name}: {times['seconds']:.2f} s")
    table: pd.DataFrame = pd.DataFrame(rows)
    return table


def _measured(one: Candidate, case: str, threads: int, again: int) -> dict[str, float]:
    command = [sys.executable, "-m", "medkd.efficiency.case", case, "--threads", str(threads), "--again", str(again)]
    for key in ("bundle", "model", "runtime", "precision"):
        command += [f"--{key}", str(getattr(one, key))]
    found = watch(command, {**os.environ, "OMP_NUM_THREADS": str(threads)})
    times = json.loads(found.printed.splitlines()[-1])
    seconds = found.seconds - times["again"]
    return {"seconds": seconds, "warm": times["warm"], "peak": found.peak, "area": found.area(seconds)}


def _known(one: Candidate, dataset_dir: str | Path | None) -> dict[str, Any]:
    """What does not change from case to case."""
    row = {"network": one.name, "runtime": one.runtime, "precision": one.precision}
    return {**row, "file": one.file.stat().st_size / 1e6, **_scored(one, dataset_dir)}


def _sizes(one: Candidate, case: str) -> dict[str, float]:
    """Parameters, and multiply-accumulates of a case's convolutions and matrix products, whatever runs them."""
    from torch.utils.flop_counter import FlopCounterMode

    own = replace(one, runtime="pytorch", precision="fp32").read()
    own.inference.update({"device": "cpu", "amp": False})
    network = own.student()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        infer(own.inference, network, case)
    return {"parameters": sum(p.numel() for p in network.parameters()), "macs": counter.get_total_flops() / 2}


def _scored(one: Candidate, dataset_dir: str | Path | None) -> dict[str, Any]:
    if dataset_dir is None:
        return {}
    settings = {"device": "cpu", "dataset_dir": str(Path(dataset_dir).resolve()), "progress": False, "num_workers": 0}
    exported = None if one.runtime == "pytorch" else one.file
    found = key_score(one.bundle, settings, model=one.model, exported=exported, runtime=one.runtime)
    if found is None:
        raise ValueError(f"{dataset_dir}: expected validation images, found none")
    return dict(zip(("metric", "score"), found, strict=True))
