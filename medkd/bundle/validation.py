"""How good a student is by its bundle's own measure, on the validation images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medkd.bundle.scripts import find_scripts
from medkd.bundle.settings import adopt
from medkd.networks.checkpoints import load_model

__all__ = ["key_score"]


def key_score(
    bundle: Path,
    validation: Mapping[str, Any],
    *,
    model: Path | None = None,
    exported: str | Path | None = None,
    runtime: str | None = None,
) -> tuple[str, float] | None:
    """The key metric of a bundle's student, by the bundle's own validation. It leaves nothing behind.

    Args:
        bundle: the bundle's folder.
        validation: keys of its training's configuration to set.
        model: the student; ``models/model.pt`` by default.
        exported: a file made of it, for ``ExportedNetwork``, which is scored in its place.
        runtime: what runs that.

    Returns:
        The metric's name and value; ``None`` where there are no validation data.

    Raises:
        ValueError: if the student does not fit the configuration.
    """
    from monai.bundle import ConfigParser

    find_scripts(bundle)
    model = model or bundle / "models" / "model.pt"
    parser = ConfigParser()
    parser.read_config(str(next((bundle / "configs").glob("train.*"))))
    # Its handlers would keep pictures and a best student.
    parser.update({**validation, "bundle_root": str(bundle), "validate#handlers": []})
    adopt(parser, model)
    if exported is not None:
        network = {"_target_": "medkd.networks.ExportedNetwork", "path": str(exported), "runtime": runtime}
        parser.update({"network": network})
    if not parser.get_parsed_content("validate#dataset#data"):
        return None
    if exported is None:
        load_model(model, parser.get_parsed_content("network"))
    evaluator: Any = parser.get_parsed_content("validate#evaluator")
    evaluator.run()
    name = evaluator.state.key_metric_name
    return name, float(evaluator.state.metrics[name])
