"""Which version of a registered student is the champion: the best one, as far as the same test data can tell."""

from __future__ import annotations

import math
from typing import Any

from mlflow.exceptions import MlflowException

__all__ = ["promote"]


def promote(client: Any, run_id: str, *, metric: str, scored: str = "test") -> str | None:
    """After an evaluation: make the run's student the champion of its registered model, if it is the better one.

    It is if there is no champion, or if it scores higher than the champion does on the same data: data of the same digest.
    Scores are kept as tags of the version, ``METRIC/DIGEST``, one for all data that it was ever tested on.

    Args:
        client: an ``MlflowClient``.
        run_id: of the training's run, with the tags of ``log_identity``, ``log_files`` and ``log_student``.
        metric: its metric that decides, higher is better: ``test/mean_dice``.
        scored: what the evaluation's metrics are called.

    Returns:
        What was decided and why, which is the run's tag ``medkd.champion`` too; ``None`` for a student that was not
        registered here, or without a score.
    """
    run = client.get_run(run_id)
    tags, score = run.data.tags, run.data.metrics.get(metric)
    name, _, version = tags.get("medkd.model_version", "").rpartition("/")
    digest = tags.get(f"medkd.digest.{scored}")
    if not name or score is None or digest is None or _version(client, name, version) is None:
        return None
    if tags.get(f"medkd.sha256.{scored}_student") != _version(client, name, version).tags.get("sha256"):
        return _decided(client, run_id, f"no: another student was scored than {name}/{version}")
    place = f"{metric}/{digest}"
    client.set_model_version_tag(name, version, place, repr(score))
    better, reason = _better(score, _champion(client, name), version, place)
    if better:
        client.set_registered_model_alias(name, "champion", version)
    return _decided(client, run_id, f"{'yes' if better else 'no'}: {reason}")


def _better(score: float, champion: Any, version: str, place: str) -> tuple[bool, str]:
    """Whether to replace the champion, with the reason."""
    what, _, digest = place.rpartition("/")
    if math.isnan(score):
        return False, f"{what} is not a number"
    if champion is None:
        return True, f"there was none before; {what} {score:.4f}"
    if str(champion.version) == version:
        return True, f"it is the champion; {what} {score:.4f}"
    known = champion.tags.get(place)
    if known is None:
        return False, f"the champion, version {champion.version}, was not scored on the same test data ({digest})"
    if not score > float(known):
        return (
            False,
            f"{what} {score:.4f} is not above the {float(known):.4f} of the champion, version {champion.version}",
        )
    return True, f"{what} {score:.4f} is above the {float(known):.4f} of version {champion.version} on the same data"


def _decided(client: Any, run_id: str, decision: str) -> str:
    client.set_tag(run_id, "medkd.champion", decision)
    return decision


def _champion(client: Any, name: str) -> Any:
    """The version that the alias leads to; ``None`` where there is none."""
    version = client.get_registered_model(name).aliases.get("champion")
    return _version(client, name, str(version)) if version is not None else None


def _version(client: Any, name: str, version: str) -> Any:
    """``None`` if it is not in this store: it was deleted, or the run goes on in another store."""
    try:
        return client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
