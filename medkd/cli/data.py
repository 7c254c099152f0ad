"""``medkd data``: prepare and check datasets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

HELP = "prepare and check datasets"
_CARDIAC = {"strong": 4, "weak": 12, "validation": 4, "test": 8, "size": 96, "slices": 6}
_POLYP = {"training": 80, "validation": 16, "test": 40, "size": 128}
_HISTOLOGY = {"training": 240, "validation": 60, "test": 80, "size": 96}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every dataset is a verb of its own."""
    kinds = parser.add_subparsers(title="datasets", required=True, metavar="DATASET")

    def add(name: str, explanation: str, *, of: Any = kinds) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = of.add_parser(name, help=explanation, formatter_class=parser.formatter_class)
        return added

    _add_acdc(add("acdc", "ACDC in its official layout"))
    _add_polyp(add("polyp", "Kvasir-SEG, ClinicDB and others in PraNet's layout"))
    _add_tiles(add("tiles", "a folder of histology tiles with image-level labels in a CSV"))
    _add_glas(add("glas", "GlaS as a task with image-level labels"))
    _add_camelyon16(add("camelyon16", "Camelyon16: tiles as places in its slides"))
    _add_digestpath(add("digestpath", "DigestPath 2019, task 2: tiles as places in its images"))
    phantoms = add("phantoms", "synthetic data, made here").add_subparsers(required=True, metavar="KIND")
    _add_phantoms(add("cardiac", "short-axis stacks", of=phantoms), _CARDIAC, _make_cardiac)
    _add_phantoms(add("polyp", "endoscopy frames", of=phantoms), _POLYP, _make_polyp)
    _add_phantoms(add("histology", "H&E tiles", of=phantoms), _HISTOLOGY, _make_histology)
    check = add("check", "check every file of a datalist")
    check.add_argument("datalist", help="datalist.json or its folder")
    check.add_argument(
        "--unannotated_values", type=_values, default=[255], help="label values that mean: not annotated"
    )
    check.set_defaults(run=_check)


def _add_acdc(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="folder of patient001, patient002, …")
    parser.add_argument("output", help="folder to make")
    parser.add_argument(
        "--strong", type=int, default=3, help="training patients, of two volumes each, whose full masks are used"
    )
    parser.add_argument("--weak", choices=["scribble", "erosion", "random", "ellipse", "none"], default="scribble")
    parser.add_argument("--classes", choices=["all", "lv"], default="all")
    parser.add_argument("--fold", type=int, default=0, help="which fifth of the patients is the test set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--seed_fraction", type=float, default=0.03, help="share of a structure that a seed label marks"
    )
    parser.add_argument("--validation", type=int, help="validation patients; a tenth of all patients unless given")
    parser.set_defaults(run=_acdc)


def _add_polyp(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="folder of TrainDataset and TestDataset, each with images and masks")
    parser.add_argument("output", help="folder to make; the images stay where they are")
    parser.add_argument("--validation", type=float, default=0.1, help="share of the training frames to validate on")
    parser.add_argument("--seed", type=int, default=0, help="of the validation split")
    parser.add_argument(
        "--sequences", default=None, help="CSV of frame, sequence (a sequence is not split), or clinicdb"
    )
    parser.add_argument(
        "--labelled", type=int, default=None, help="training frames whose masks are used (default: all)"
    )
    parser.add_argument("--unlabelled", default=None, help="folder of more training frames, without masks")
    parser.set_defaults(run=_polyp)


def _add_tiles(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="folder of tiles of one size")
    parser.add_argument("output", help="folder to make; the tiles stay where they are")
    parser.add_argument("--labels", required=True, help="CSV of image, label (0 or 1), and perhaps patient and section")
    parser.add_argument("--masks", default=None, help="folder of masks, for scoring alone")
    parser.add_argument(
        "--class_name", default="tumour", help="what a tile of label 1 holds: class_names of the training"
    )
    parser.add_argument("--validation", type=float, default=0.15, help="share of the tiles to validate on, by patient")
    parser.add_argument("--test", type=float, default=0.25, help="share of the tiles to test on, by patient")
    parser.add_argument("--seed", type=int, default=0, help="of the split")
    parser.set_defaults(run=_tiles)


def _add_glas(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="folder of images, masks and grade.csv")
    parser.add_argument("output", help="folder to make; the images stay where they are")
    parser.add_argument("--task", choices=["gland", "malignancy"], default="gland")
    parser.add_argument("--tile_size", type=int, default=128, help="side of a tile in pixels")
    parser.add_argument("--stride", type=int, default=64, help="distance of training tiles in pixels")
    parser.add_argument(
        "--positive_fraction", type=float, default=0.0, help="tiles with less gland, but some, are not trained on"
    )
    parser.add_argument("--validation", type=float, default=0.15, help="share of the images to validate on, by patient")
    parser.add_argument("--test", type=float, default=0.3, help="share of the images to test on, by patient")
    parser.add_argument("--seed", type=int, default=0, help="of the split")
    parser.set_defaults(run=_glas)


def _add_slides(parser: argparse.ArgumentParser, tiles_per_slide: int | None) -> None:
    """What the datasets of slides have in common."""
    parser.add_argument("output", help="folder to make; the slides stay where they are")
    parser.add_argument("--tile_size", type=int, default=512, help="side of a tile in level-0 pixels")
    parser.add_argument("--positive_fraction", type=float, default=0.25, help="share of tumour in a positive tile")
    parser.add_argument(
        "--tiles_per_slide", type=int, default=tiles_per_slide, help="at most so many of each label in a slide"
    )
    parser.add_argument("--validation", type=float, default=0.1, help="share to validate on")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the draw")
    parser.add_argument("--write_tiles", action="store_true", help="also cut the tiles out, as PNG")


_SLIDES = ("tile_size", "positive_fraction", "tiles_per_slide", "validation", "seed", "write_tiles")


def _add_camelyon16(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("slides", help="folder of normal_*, tumor_* and test_* slides")
    parser.add_argument("annotations", help="folder of ASAP's XML files")
    _add_slides(parser, 1000)
    parser.set_defaults(run=_camelyon16)


def _add_digestpath(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="folder of the folders of positive and negative images")
    _add_slides(parser, None)
    parser.add_argument("--test", type=float, default=0.2, help="share of the images to test on, by patient")
    parser.set_defaults(run=_digestpath)


def _add_phantoms(parser: argparse.ArgumentParser, counts: dict[str, int], make: Any) -> None:
    parser.add_argument("output", help="folder to make")
    for name, count in counts.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=lambda options: _report(options, make(options.output, **_chosen(options, *counts, "seed"))))


def _make_cardiac(output: str, **settings: int) -> dict[str, dict[str, int]]:
    from medkd.datasets import make_cardiac_phantoms

    return make_cardiac_phantoms(output, **settings)


def _make_polyp(output: str, **settings: int) -> dict[str, dict[str, int]]:
    from medkd.datasets import make_polyp_phantoms

    return make_polyp_phantoms(output, **settings)


def _make_histology(output: str, **settings: int) -> dict[str, dict[str, int]]:
    from medkd.datasets import make_histology_phantoms

    return make_histology_phantoms(output, **settings)


def _tiles(options: argparse.Namespace) -> None:
    from medkd.datasets import prepare_tiles

    settings = _chosen(options, "labels", "masks", "class_name", "validation", "test", "seed")
    _report(options, prepare_tiles(options.source, options.output, progress=True, **settings))


def _glas(options: argparse.Namespace) -> None:
    from medkd.datasets import prepare_glas

    names = ("task", "tile_size", "stride", "positive_fraction", "validation", "test", "seed")
    _report(options, prepare_glas(options.source, options.output, progress=True, **_chosen(options, *names)))


def _camelyon16(options: argparse.Namespace) -> None:
    from medkd.datasets.camelyon16 import prepare_camelyon16

    settings = _chosen(options, *_SLIDES)
    _report(options, prepare_camelyon16(options.slides, options.annotations, options.output, progress=True, **settings))


def _digestpath(options: argparse.Namespace) -> None:
    from medkd.datasets.digestpath import prepare_digestpath

    settings = _chosen(options, *_SLIDES, "test")
    _report(options, prepare_digestpath(options.source, options.output, progress=True, **settings))


def _acdc(options: argparse.Namespace) -> None:
    from medkd.datasets import prepare_acdc

    settings = _chosen(options, "strong", "weak", "classes", "fold", "seed", "seed_fraction", "validation")
    _report(options, prepare_acdc(options.source, options.output, progress=True, **settings))


def _polyp(options: argparse.Namespace) -> None:
    from medkd.datasets import prepare_polyp

    settings = _chosen(options, "validation", "seed", "sequences", "labelled", "unlabelled")
    _report(options, prepare_polyp(options.source, options.output, progress=True, **settings))


def _values(text: str) -> list[int]:
    """``[4, 9]`` as in ``train.yaml``, or one value."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    values = found if isinstance(found, list) else [found]
    if not all(type(value) is int for value in values):
        raise argparse.ArgumentTypeError(f"expected label values, 4 or [4, 9], found {text!r}")
    return values


def _check(options: argparse.Namespace) -> None:
    from medkd.datasets import check_datalist

    _print_sections(check_datalist(options.datalist, unannotated_values=options.unannotated_values, progress=True))
    print("No problem found.")


def _chosen(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names}


def _report(options: argparse.Namespace, sections: dict[str, dict[str, int]]) -> None:
    _print_sections(sections)
    print(f"Datalist: {Path(options.output) / 'datalist.json'}")


def _print_sections(sections: dict[str, dict[str, int]]) -> None:
    columns = list(next(iter(sections.values())))
    print(f"{'section':<12}" + "".join(f"{column:>10}" for column in columns))
    for name, counts in sections.items():
        print(f"{name:<12}" + "".join(f"{counts[column]:>10}" for column in columns))
