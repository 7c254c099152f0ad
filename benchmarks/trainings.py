"""Trainings of the bundles on phantoms, as benchmarks need them: begun, and still to be run."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigWorkflow

from medkd import datasets
from medkd.bundle import bundle_names
from medkd.bundle.scripts import find_scripts

BUNDLES = Path(__file__).resolve().parents[1] / "bundles"
METHODS = {name.split("_")[0]: name for name in bundle_names()}
_ALONE = {"kdas": {"alpha": 0}, "compact": {"pixel_weight": 0}}  # a teacher would have to be trained first


def known(method: str) -> str:
    """A method on the command line; ``choices`` of argparse would refuse the default of ``nargs="*"``."""
    if method not in METHODS:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(METHODS)}, found {method!r}")
    return method


def on_phantoms(method: str, folder: Path, **other: Any) -> dict[str, Any]:
    """The settings of ``medkd demo``, and its phantoms, as they are or others, in a folder."""
    demo = yaml.safe_load((BUNDLES / METHODS[method] / "configs" / "demo.yaml").read_text(encoding="utf-8"))
    phantoms = {**demo["phantoms"], **other}
    getattr(datasets, f"make_{phantoms.pop('kind')}_phantoms")(folder, **phantoms)
    return {**demo["training"], **_ALONE.get(method, {}), "dataset_dir": str(folder)}


def begun(
    method: str, folder: Path, settings: dict[str, Any], *, recipes: Sequence[str] = (), tracked: bool = False
) -> ConfigWorkflow:
    """A training that ends in a folder, initialised."""
    bundle = BUNDLES / METHODS[method]
    configs = bundle / "configs"
    find_scripts(bundle)
    workflow = ConfigWorkflow(
        config_file=[str(configs / "train.yaml"), *(str(configs / "recipes" / f"{name}.yaml") for name in recipes)],
        meta_file=str(configs / "metadata.json"),
        logging_file=False,
        workflow_type="train",
        tracking=str(configs / "tracking.yaml") if tracked else None,
        **{**settings, "bundle_root": str(folder), "progress": False},
    )
    workflow.initialize()
    return workflow
