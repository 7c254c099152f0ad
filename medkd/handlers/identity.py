"""What a run was made of: its data, networks and configuration by their bytes, its machine, its user."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, RunTag
from mlflow.tracking.context.registry import resolve_tags

from medkd.datasets.datalist import SECTIONS, load_datalist, summary
from medkd.datasets.digests import file_digests, image_overlap, patient_overlap, section_digest
from medkd.errors import DataError
from medkd.files import atomic_path, content_hash, sha256
from medkd.handlers.surroundings import hardware, packages

__all__ = ["log_files", "log_identity"]

_logger = logging.getLogger(__name__)

_LISTS = {"training": "train", "validation": "validate"}  # where a server puts the studies that it trains on


def log_identity(
    client: Any,
    run_id: str,
    *,
    config_file: str | Path,
    dataset_dir: str | Path | None = None,
    scored: str | None = None,
    split: str | None = None,
    anonymous: bool = False,
) -> None:
    """Log what a run is about to compute with; a configuration that the run knows already is not logged again.

    Dataset inputs, one per section, with a digest of its files' bytes; tags ``medkd.digest.SECTION``,
    ``medkd.patient_overlap``, ``medkd.image_overlap``, ``medkd.sha256.config``, ``medkd.hardware.…``, user and source as
    MLflow itself resolves them; ``environment.txt``, which stays beside the configuration too.

    Args:
        client: an ``MlflowClient``.
        run_id: of the run.
        config_file: the executed configuration. Its hash is that of the file as it lies there, whatever of it is logged.
        dataset_dir: the folder of the datalist. Where ``train#dataset#data`` or ``validate#dataset#data`` of the
            configuration are lists themselves, those are the data.
        scored: of an evaluation, what its metrics are called (``test``): its configuration is ``medkd.sha256.test_config``.
        split: of an evaluation, the section that it reads; a training reads training and validation.
        anonymous: neither the name nor the place of the data is logged.
    """
    tag, digest = f"medkd.sha256.{_before('config', scored)}", sha256(config_file)
    if client.get_run(run_id).data.tags.get(tag) == digest:  # of several handlers of a run the first has logged it
        return
    config = json.loads(Path(config_file).read_text(encoding="utf-8"))
    data, tags = _data(config, dataset_dir, split), {tag: digest}
    if data:
        name = "dataset" if anonymous else Path(dataset_dir or "dataset").resolve().name
        inputs, told = _inputs(data, split, name, None if anonymous else str(dataset_dir))
        client.log_inputs(run_id, inputs)
        tags |= told
    tags |= {f"medkd.hardware.{_before(key, scored)}": value for key, value in hardware().items()}
    if scored is None:
        tags |= resolve_tags()
    client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])
    _log_environment(client, run_id, Path(config_file).parent, scored)


def log_files(client: Any, run_id: str, files: Mapping[str, str | Path | None], *, scored: str | None = None) -> None:
    """Log the SHA-256 of files, and of folders of predictions, as they are now: tags ``medkd.sha256.NAME``.

    Args:
        client: an ``MlflowClient``.
        run_id: of the run.
        files: by name (``student``, ``teacher``); those that are not there are passed over.
        scored: of an evaluation, what its metrics are called: ``medkd.sha256.test_student`` is what was scored.
    """
    there = {name: path for name, path in files.items() if path and Path(path).exists()}
    tags = [RunTag(f"medkd.sha256.{_before(name, scored)}", content_hash(path)) for name, path in there.items()]
    if tags:
        client.log_batch(run_id, tags=tags)


def _before(name: str, scored: str | None) -> str:
    return f"{scored}_{name}" if scored else name


def _data(config: Mapping[str, Any], dataset_dir: str | Path | None, split: str | None) -> dict[str, list[Any]]:
    """Items of every section: of the lists in the configuration, or else of the datalist; nothing where there is neither."""
    listed = {section: config.get(key, {}).get("dataset", {}).get("data") for section, key in _LISTS.items()}
    given = {section: items for section, items in listed.items() if isinstance(items, list) and items}
    if given and split is None:
        return given
    try:
        datalist = load_datalist(dataset_dir or "")
    except (DataError, FileNotFoundError) as error:
        _logger.warning("The data of this run are not identified in MLflow: %s", error)
        return {}
    return {section: datalist[section] for section in SECTIONS if datalist[section]}


def _inputs(
    data: Mapping[str, Sequence[Any]], split: str | None, name: str, place: str | None
) -> tuple[list[DatasetInput], dict[str, str]]:
    """MLflow's inputs of what the run reads, and tags of it."""
    read = [split] if split else ["training", "validation"]
    known, test = (
        [item for section in ("training", "validation") for item in data.get(section, [])],
        data.get("test", []),
    )
    compared = test and known and (split is None or split == "test")
    sections = SECTIONS if compared else read
    digests = file_digests(item for section in sections for item in data.get(section, []))
    inputs, tags = [], {}
    for section in (section for section in read if data.get(section)):
        digest = tags[f"medkd.digest.{section}"] = section_digest(data[section], digests)
        profile, source = json.dumps(summary(data[section])), json.dumps({"uri": place} if place else {})
        dataset = Dataset(f"{name}/{section}", digest, "local", source, profile=profile)
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", section)]))
    if compared:
        tags["medkd.patient_overlap"] = patient_overlap(known, test)
        tags["medkd.image_overlap"] = image_overlap(known, test, digests)
    return inputs, tags


def _log_environment(client: Any, run_id: str, folder: Path, scored: str | None) -> None:
    """The file stays: a run that loses its server is written again from what lies on this side."""
    path = folder / f"{_before('environment', scored)}.txt"
    with atomic_path(path) as partial:
        partial.write_text(packages(), encoding="utf-8")
    client.log_artifact(run_id, str(path))
