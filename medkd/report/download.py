"""What MLflow holds of a ladder or of one training, as a folder that a report can be made of."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

__all__ = ["download", "is_run"]

_SCHEME = "runs:/"
_CELL = re.compile(r"(?P<rung>.+)-seed(?P<seed>\d+)-[0-9a-f]{6}")


def is_run(source: str) -> bool:
    """Whether this names a run, not a folder."""
    return source.startswith(_SCHEME)


def download(source: str, folder: str | Path, *, tracking_uri: str | None = None) -> Path:
    """Fetch the tables of a run: of a ladder's parent those of its rungs, of a training its own.

    Pictures and networks stay where they are: what of the page needs them is said to be missing.

    Args:
        source: ``runs:/ID``.
        folder: where to make a folder of the run's name.
        tracking_uri: the store; by default ``MLFLOW_TRACKING_URI``.

    Returns:
        The folder, laid out as ``medkd ladder`` or a bundle leaves it.

    Raises:
        ValueError: if the run holds no scores of a test.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri)
    run = client.get_run(source.removeprefix(_SCHEME).strip("/"))
    root = Path(folder) / str(run.info.run_name)
    root.mkdir(parents=True)
    found = _ladder(client, run, root) if run.data.tags.get("medkd.kind") == "ladder" else _tables(client, run, root)
    if not found:
        raise ValueError(
            f"{source}: expected a run with test/cases.csv, or a ladder's parent of such runs, found no such table"
        )
    return root


def _ladder(client: Any, run: Any, root: Path) -> bool:
    """The parent's own tables, and those of its children in a folder for each rung and seed."""
    parent = run.info.run_id
    if any(file.path == "patients.csv" for file in client.list_artifacts(parent)):
        client.download_artifacts(parent, "patients.csv", str(root))
    bundle = run.data.params.get("bundle", str(run.info.run_name).removeprefix("ladder-"))  # an earlier version's name
    overrides = {key: value for key, value in run.data.params.items() if key == "dataset_dir"}
    (root / "settings.json").write_text(json.dumps({"bundle": bundle, "overrides": overrides}), encoding="utf-8")
    (root / "parent_run.txt").write_text(parent, encoding="ascii")
    children = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    named = [(child, _CELL.fullmatch(str(child.info.run_name))) for child in children]
    found = [_tables(client, child, root / cell["rung"] / f"seed{cell['seed']}") for child, cell in named if cell]
    return any(found)


def _tables(client: Any, run: Any, cell: Path) -> bool:
    """The tables of the test, where the evaluation would have left them."""
    if not any(file.path == "test/cases.csv" for file in client.list_artifacts(run.info.run_id, "test")):
        return False
    cell.mkdir(parents=True, exist_ok=True)
    fetched = Path(client.download_artifacts(run.info.run_id, "test", str(cell)))
    shutil.move(str(fetched), str(cell / "eval"))
    (cell / "run_name.txt").write_text(str(run.info.run_name), encoding="utf-8")
    return True
