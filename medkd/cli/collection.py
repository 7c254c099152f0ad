"""``medkd collection``: many slides, or DICOM studies, on several workers."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from medkd.cli.runtime import add_runtime
from medkd.cli.workers import add_workers, shared_out

HELP = "run a bundle's student over a folder of slides, or of DICOM studies, on several workers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bundle, what it is run on, and by whom."""
    parser.add_argument(
        "bundle", help="the bundle's folder, with models/model.pt; slides, if it has configs/slides.yaml"
    )
    parser.add_argument("source", help="folder of slides, or of folders of one DICOM series each")
    parser.add_argument("output", help="folder to make, or to go on in")
    add_workers(parser, "1")
    add_runtime(parser)
    parser.add_argument("--device", default=None, help="of the network (default: the GPU, where there is one)")
    parser.add_argument(
        "--set",
        nargs="*",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="overrides of slides.yaml, VALUE in YAML",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from medkd.collection.slides import SLIDES_CONFIG
    from medkd.errors import DataError

    # Workers may be on other machines, where the working folder is another.
    bundle, source, output = (Path(path).absolute() for path in (options.bundle, options.source, options.output))
    prepared = _slides if (bundle / SLIDES_CONFIG).is_file() else _studies
    function, found = prepared(options, bundle, source, output)
    counts: Counter[bool] = Counter()
    failed = 0
    with shared_out(options, options.source) as run:
        try:
            counts.update(new for _, new in run(function, [(str(path), str(path)) for path in found]))
        except DataError as error:
            failed = len(error.problems)
            raise
        finally:
            print(f"Written:  {counts[True]}; {counts[False]} were there; {failed} failed")
            print(f"Folder:   {options.output}")


def _slides(
    options: argparse.Namespace, bundle: Path, source: Path, output: Path
) -> tuple[Callable[[str], Any], list[Path]]:
    from medkd.collection.slides import check_slides, make_maps
    from medkd.ladder.overrides import yaml_value
    from medkd.slides.plan import find_slides

    pairs = [pair.partition("=") for pair in options.set]
    if wrong := [key for key, sign, _ in pairs if not sign]:
        raise ValueError(f"--set: expected KEY=VALUE, got {', '.join(wrong)}")
    chosen = {"runtime": options.runtime, "precision": options.precision}
    chosen["device"] = f"$torch.device('{options.device}')" if options.device else None
    settings = {key: value for key, value in chosen.items() if value is not None}
    settings |= {key: yaml_value(value) for key, _, value in pairs}
    check_slides(str(bundle), settings)
    function = partial(make_maps, bundle=str(bundle), output=str(output), settings=settings)
    return function, find_slides(source)


def _studies(
    options: argparse.Namespace, bundle: Path, source: Path, output: Path
) -> tuple[Callable[[str], Any], list[Path]]:
    from medkd.collection.studies import claim_folder, find_series, segment_study

    if options.set:
        raise ValueError("--set: expected none for DICOM studies, it sets keys of slides.yaml")
    how = {"runtime": options.runtime, "precision": options.precision}
    found = find_series(source)
    claim_folder(output, bundle, **how)
    return partial(segment_study, bundle=str(bundle), output=str(output), device=options.device, **how), found
