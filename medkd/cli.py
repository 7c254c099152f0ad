"""The command ``medkd``: thin verbs over the modules of the package."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medkd import __version__

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; errors that the user can mend are printed without a traceback.

    Returns:
        The exit status: 0, or 1 after such an error.
    """
    options = _parser().parse_args(arguments)
    # MONAI warns for every reader it makes where NVIDIA's image codec is not installed.
    logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader")
    # MLflow and SQLAlchemy announce every table they make; a user of medkd did not ask for that.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    try:
        options.run(options)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"medkd: error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="medkd", description="Knowledge distillation for MONAI bundles.")
    parser.add_argument("--version", action="version", version=f"medkd {__version__}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    _add_data(verbs.add_parser("data", help="prepare and check datasets"))
    _add_ladder(verbs.add_parser("ladder", help="run a bundle's ablation ladder", formatter_class=_Defaults))
    _add_overlay(verbs.add_parser("overlay", help="draw a mask over an image"))
    _add_demo(verbs.add_parser("demo", help="the main job on phantoms, in minutes", formatter_class=_Defaults))
    return parser


class _Defaults(argparse.ArgumentDefaultsHelpFormatter):
    """Help that shows defaults."""


def _add_data(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(title="datasets", required=True, metavar="DATASET")
    acdc = kinds.add_parser("acdc", help="ACDC in its official layout", formatter_class=_Defaults)
    acdc.add_argument("source", help="folder of patient001, patient002, …")
    acdc.add_argument("output", help="folder to make")
    acdc.add_argument("--strong", type=int, default=3, help="training patients whose full masks are used")
    acdc.add_argument("--weak", choices=["scribble", "erosion", "random", "ellipse", "none"], default="scribble")
    acdc.add_argument("--classes", choices=["all", "lv"], default="all")
    acdc.add_argument("--fold", type=int, default=0, help="which block of patients is the test set")
    acdc.add_argument("--seed", type=int, default=0)
    acdc.add_argument("--seed_fraction", type=float, default=0.03, help="share of a structure that a seed label marks")
    acdc.add_argument("--validation", type=int, default=10, help="validation patients")
    acdc.set_defaults(run=_data_acdc)
    phantoms = kinds.add_parser("phantoms", help="synthetic data, made here", formatter_class=_Defaults)
    phantoms.add_argument("kind", choices=["cardiac"])
    phantoms.add_argument("output", help="folder to make")
    for name, count in (("strong", 4), ("weak", 12), ("validation", 4), ("test", 8), ("size", 96), ("slices", 6)):
        phantoms.add_argument(f"--{name}", type=int, default=count)
    phantoms.add_argument("--seed", type=int, default=0)
    phantoms.set_defaults(run=_data_phantoms)
    check = kinds.add_parser("check", help="check every file of a datalist")
    check.add_argument("datalist", help="datalist.json or its folder")
    check.add_argument("--unannotated_values", type=int, nargs="*", default=[255])
    check.set_defaults(run=_data_check)


def _add_ladder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", help="the bundle's folder")
    parser.add_argument("--dataset_dir", required=True, help="output of `medkd data …`")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rungs", nargs="+", default=None, help="rungs, or the name of a selection (default: all)")
    parser.add_argument("--output_dir", default=None, help="results (default: BUNDLE/ladder)")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides of train.yaml for all rungs, VALUE in YAML"
    )
    parser.set_defaults(run=_ladder)


def _add_overlay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", help="NIfTI file")
    parser.add_argument("masks", nargs="+", help="NIfTI files of the same grid")
    parser.add_argument("--output", required=True, help="PNG to write")
    parser.set_defaults(run=_overlay)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", choices=["confkd"], default="confkd")
    parser.add_argument("--bundles", default="bundles", help="folder of the bundles")
    parser.add_argument("--output_dir", default="demo")
    parser.set_defaults(run=_demo)


def _data_acdc(options: argparse.Namespace) -> None:
    from medkd.datasets import prepare_acdc

    names = ("strong", "weak", "classes", "fold", "seed", "seed_fraction", "validation")
    settings = {name: getattr(options, name) for name in names}
    _print_sections(prepare_acdc(options.source, options.output, progress=True, **settings))
    print(f"Datalist: {Path(options.output) / 'datalist.json'}")


def _data_phantoms(options: argparse.Namespace) -> None:
    from medkd.datasets import make_cardiac_phantoms

    names = ("strong", "weak", "validation", "test", "size", "slices", "seed")
    _print_sections(make_cardiac_phantoms(options.output, **{name: getattr(options, name) for name in names}))
    print(f"Datalist: {Path(options.output) / 'datalist.json'}")


def _data_check(options: argparse.Namespace) -> None:
    from medkd.datasets import check_datalist

    sections = check_datalist(options.datalist, unannotated_values=options.unannotated_values, progress=True)
    _print_sections(sections)
    print("No problem found.")


def _ladder(options: argparse.Namespace) -> None:
    from medkd.ladder import load_ladder, render, run_ladder

    ladder = load_ladder(options.bundle, options.rungs)
    output = Path(options.output_dir or Path(options.bundle) / "ladder")
    scores = run_ladder(
        ladder, output, dataset_dir=options.dataset_dir, seeds=options.seeds, overrides=_overrides(ladder, options.set)
    )
    print(render(ladder, scores))
    print(f"\nTables and plot: {output}; MLflow: mlflow ui --backend-store-uri sqlite:///{output / 'mlruns.db'}")


def _overrides(ladder: Any, pairs: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` pairs as a mapping; unknown keys are refused."""
    import yaml
    from monai.bundle import ConfigParser

    from medkd.runs import unknown_keys

    malformed = [pair for pair in pairs if "=" not in pair]
    overrides = {key: _value(yaml.safe_load(value)) for key, _, value in (pair.partition("=") for pair in pairs)}
    train = ladder.bundle / "configs" / "train.yaml"
    problems = [f"expected KEY=VALUE, got {pair!r}" for pair in malformed]
    problems += unknown_keys(overrides, ConfigParser.load_config_file(train)) if not malformed else []
    if problems:
        raise ValueError(f"--set: {'; '.join(problems)} ({train})")
    return overrides


def _value(value: Any) -> Any:
    """YAML takes ``1e-3`` for a string, because it has no point."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _overlay(options: argparse.Namespace) -> None:
    import nibabel as nib
    import numpy as np

    from medkd.visualise import save_overlay

    image, *masks = (np.asarray(nib.nifti1.load(path).dataobj) for path in (options.image, *options.masks))
    names = [Path(path).name.split(".")[0] for path in (options.image, *options.masks)]
    for name, mask in zip(names[1:], masks, strict=True):
        if mask.shape != image.shape:
            raise ValueError(f"{name}: expected a mask of the image's shape {image.shape}, found {mask.shape}")
    save_overlay(options.output, {names[0]: (image, dict(zip(names[1:], masks, strict=True)))})
    print(f"Overlay: {options.output}")


def _demo(options: argparse.Namespace) -> None:
    from medkd.demo import run_demo

    run_demo(options.method, bundles=options.bundles, output_dir=options.output_dir)


def _print_sections(sections: dict[str, dict[str, int]]) -> None:
    print(f"{'section':<12}{'images':>8}{'patients':>10}{'strong':>8}")
    for name, counts in sections.items():
        print(f"{name:<12}{counts['images']:>8}{counts['patients']:>10}{counts['strong']:>8}")


if __name__ == "__main__":
    sys.exit(main())
