"""Train and test every rung with every seed, each once, however often the ladder is stopped."""

from __future__ import annotations

import contextlib
import copy
import gc
import json
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medkd.bundle.scripts import find_scripts
from medkd.datasets.datalist import load_datalist
from medkd.files import atomic_path, sha256
from medkd.handlers.ladder_runs import within_ladder
from medkd.ladder.cost import timed
from medkd.ladder.mlflow_parent import ParentRun, start, tracking_uri
from medkd.ladder.plan import EVALUATED_BY, Ladder
from medkd.ladder.side_by_side import side_by_side
from medkd.ladder.table import cell_dir, claim_metrics, collect, rung_table, write_tables
from medkd.ladder.verdicts import verdicts
from medkd.program import cause

__all__ = ["run_ladder"]


def run_ladder(
    ladder: Ladder,
    output_dir: str | Path,
    *,
    dataset_dir: str | Path,
    seeds: Sequence[int] = (0,),
    overrides: Mapping[str, Any] | None = None,
    progress: bool = True,
    jobs: int = 1,
    report: Callable[..., list[Path]] | None = None,
) -> pd.DataFrame:
    """Run the cells (rung x seed) that are not done yet.

    Each cell is a folder laid out as a bundle's root: ``models/model.pt``, ``checkpoints/``, ``eval/cases.csv``,
    and how long its training took. All cells are children of one MLflow run, in ``mlruns.db`` of ``output_dir`` unless
    ``MLFLOW_TRACKING_URI`` names a server; from the moment that cannot be reached, in ``mlruns-offline.db``. Called again with the same arguments it goes on where it was stopped, inside a cell as well.

    Args:
        ladder: the rungs.
        output_dir: folder of the results.
        dataset_dir: the prepared dataset.
        seeds: one training per rung and seed.
        overrides: of ``train.yaml``, for all rungs alike, e.g. ``{"max_epochs": 20}``.
        progress: show a progress bar over the cells.
        jobs: how many trainings at once, each in a process of its own, with its share of the CPU's threads; a small training
            leaves a GPU, and two cores, idle for much of the time.
        report: writes pages beside the tables, which are logged with them: ``medkd.report.report_of``.

    Returns:
        The scores, one row per rung, seed and unit; ``output_dir`` then holds the table and the plot as well.

    Raises:
        ValueError: if ``output_dir`` holds a ladder with other settings, or ``jobs`` is less than 1.
        RuntimeError: if a cell fails, with the place of its log.
    """
    from tqdm import tqdm

    if jobs < 1:
        raise ValueError(f"jobs: expected at least 1, got {jobs}")
    root = Path(output_dir).resolve()
    shared = {**(overrides or {}), "dataset_dir": str(Path(dataset_dir).resolve())}
    datalist = load_datalist(dataset_dir)  # refuse a wrong folder before anything is claimed for it
    ladder = ladder.told_by(dataset_dir)
    digest = sha256(Path(dataset_dir) / "datalist.json")[:12]  # made again in the same place it may be another
    told = {"bundle": ladder.bundle.name, "overrides": shared, "configs": _digests(ladder), "datalist": digest}
    _claim(root, told)
    cells = [(rung, seed) for seed in seeds for rung in ladder.rungs]
    with _parent_run(ladder, root, list(seeds), shared) as parent:
        calls = {}
        for rung, seed in cells:
            folder, settings = cell_dir(root, rung, seed), {**shared, **ladder.rungs[rung], "seed": seed}
            _claim(folder, settings)
            if not (folder / "eval" / ladder.table).is_file():
                calls[rung, seed] = (ladder, folder, settings, f"{rung}-seed{seed}-{parent.name[-6:]}")
        with tqdm(
            desc="ladder", total=len(cells), initial=len(cells) - len(calls), unit="run", disable=not progress
        ) as bar:
            for rung, seed in _run_cells(ladder, calls, jobs):
                parent.tell()  # the server may be lost by now: the next cells need not find that out by themselves
                bar.set_postfix_str(f"done: {rung}, seed {seed}", refresh=False)
                bar.update()
        seen = {str(item["patient"]) for item in datalist["test"] if item.get("seen") and "patient" in item}
        scores = collect(ladder, root, seeds, seen=seen)
        rows = rung_table(ladder, scores).to_dict("records")
        means = {f"{row['score']}_{row['rung']}": float(row["mean"]) for row in rows}
        files = write_tables(ladder, scores, root)
        if report:
            files += report(ladder, root, anonymous=bool(shared.get("anonymous_cases", False)))
        parent.finish(means | claim_metrics(ladder, scores), files, note=verdicts(ladder, scores))
    return scores


def _run_cells(ladder: Ladder, calls: Mapping[tuple[str, int], Sequence[Any]], jobs: int) -> Iterator[tuple[str, int]]:
    """Each cell when it is done."""
    if jobs > 1:
        yield from side_by_side(
            _run_cell, calls, needs=lambda cell: [(rung, cell[1]) for rung in ladder.reads(cell[0])], jobs=jobs
        )
        return
    for cell, arguments in calls.items():
        _run_cell(*arguments)
        yield cell


def _run_cell(ladder: Ladder, folder: Path, settings: Mapping[str, Any], name: str) -> None:
    """Train (or go on training) and test one rung with one seed; what it prints goes to its log."""
    log = folder / "log.txt"
    begun = log.is_file()
    # A ladder compares: its students are logged, and which of them is to be served is for somebody to say.
    unregistered = {"bundle_dir": str(ladder.bundle), "registered_as": None}
    cell = {"bundle_root": str(folder), "progress": False, **unregistered, **settings}
    configs, untrained = ladder.bundle / "configs", cell.pop(EVALUATED_BY, None)
    evaluation = [*ladder.files, configs / "evaluate.yaml", *([configs / untrained] if untrained else [])]
    find_scripts(ladder.bundle)
    try:
        with _output_to(log), _traceback_printed():
            tracked = {"tracking_uri": tracking_uri(folder.parents[1]), "run_name": name, "resume": True}
            if not untrained:
                with timed(folder, begun=begun):
                    _run_workflow(ladder.files, {**cell, **tracked}, tracking=configs / "tracking.yaml")
            _run_workflow(evaluation, {**cell, **tracked}, tracking=configs / "tracking.yaml")
    except Exception as error:
        raise RuntimeError(f"{name} failed: {cause(error)} (its log: {log})") from error
    finally:
        gc.collect()  # datasets in memory go before the next cell's come


@contextlib.contextmanager
def _traceback_printed() -> Iterator[None]:
    try:
        yield
    except Exception:
        traceback.print_exc()
        raise


def _run_workflow(files: Sequence[Path], settings: Mapping[str, Any], tracking: Path) -> None:
    from monai.bundle import ConfigWorkflow

    workflow = ConfigWorkflow(
        config_file=[str(file) for file in files],
        meta_file=str(files[0].parent / "metadata.json"),
        logging_file=False,
        workflow_type="train",
        tracking=str(tracking),
        **copy.deepcopy(dict(settings)),  # MONAI replaces macros (%key) where they stand: the ladder's own would change
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()


def _digests(ladder: Ladder) -> dict[str, str]:
    """What the cells are trained and tested with besides the overrides: other defaults, or other code, make another ladder."""
    others = {str(rung[EVALUATED_BY]) for rung in ladder.rungs.values() if EVALUATED_BY in rung}
    files = [*ladder.files, *(ladder.bundle / "configs" / name for name in ("evaluate.yaml", *sorted(others)))]
    code = [file for file in sorted(ladder.bundle.glob("scripts/**/*.py")) if not file.name.startswith("test_")]
    return {
        **{file.name: sha256(file)[:12] for file in files},
        **{file.relative_to(ladder.bundle).as_posix(): sha256(file)[:12] for file in code},
    }


def _claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Mark a folder with the settings of its results, or refuse it if they are another's."""
    mark = folder / "settings.json"
    wanted = json.loads(json.dumps(settings))
    if mark.is_file():
        found = json.loads(mark.read_text(encoding="utf-8"))
        if "datalist" not in found:  # a cell, or a ladder of an earlier version
            wanted.pop("datalist", None)
        if found != wanted:
            raise ValueError(
                f"{folder}: expected results of {_other(wanted, found)}, found those of {_other(found, wanted)}; "
                "name another --output_dir, or delete this one"
            )
        return
    with atomic_path(mark) as partial:
        partial.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")


def _other(settings: Any, others: Any) -> Any:
    """The part of settings that differs from others."""
    if not (isinstance(settings, dict) and isinstance(others, dict)):
        return settings
    return {
        key: _other(value, others.get(key))
        for key, value in settings.items()
        if key not in others or value != others[key]
    }


@contextlib.contextmanager
def _parent_run(ladder: Ladder, root: Path, seeds: list[int], shared: Mapping[str, Any]) -> Iterator[ParentRun]:
    """The MLflow run whose children the cells are; kept by its name, so that a continued ladder has one parent."""
    from monai.bundle import ConfigParser

    tracking = ConfigParser.load_config_file(ladder.bundle / "configs" / "tracking.yaml")
    with within_ladder(root):
        run = start(root, tracking_uri(root), tracking["configs"]["experiment_name"], ladder.bundle.name)
        run.log_params({"bundle": ladder.bundle.name, "seeds": seeds, "rungs": list(ladder.rungs), **shared})
        try:
            yield run
        except BaseException as error:
            run.end("FAILED" if isinstance(error, Exception) else "KILLED")
            raise


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send prints, warnings and the records of every logger to a file."""
    known = [logging.getLogger(name) for name in logging.Logger.manager.loggerDict]
    level = logging.getLogger().level
    before = {logger: logger.handlers[:] for logger in (logging.getLogger(), *known) if logger.handlers}
    with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        for logger in {logging.getLogger(), *before}:
            logger.handlers = [logging.StreamHandler(file)]
        logging.getLogger().setLevel(logging.INFO)
        try:
            with warnings.catch_warnings():
                yield
        finally:
            logging.getLogger().handlers = []
            logging.getLogger().setLevel(level)
            for logger, handlers in before.items():
                logger.handlers = handlers
