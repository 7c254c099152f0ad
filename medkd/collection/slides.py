"""A slide by a bundle's ``slides.yaml``: what a command line of MONAI would do, in the process that calls it."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medkd.bundle.command_line import typed, unknown_keys
from medkd.bundle.scripts import find_scripts
from medkd.bundle.settings import adopt

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

__all__ = ["SLIDES_CONFIG", "check_slides", "configured_slides", "make_maps"]

SLIDES_CONFIG = Path("configs") / "slides.yaml"
_QUIET = {"progress": False, "num_workers": 0}  # a worker shows nothing; others read while it waits


def make_maps(slide: str, *, bundle: str, output: str, settings: Mapping[str, Any]) -> bool:
    """Make the maps of a slide, or go on with them.

    Args:
        slide: its file.
        bundle: the bundle's folder, with ``configs/slides.yaml`` and ``models/model.pt``.
        output: folder of the results.
        settings: overrides of ``slides.yaml``, by key.

    Returns:
        Whether something was to be done; ``False``: they were there.

    Raises:
        ValueError: for settings that the configuration has no place for or the student contradicts, a slide that cannot be
            used, or maps there with other settings.
        OSError: if something cannot be read or written; what is done by then is kept.
    """
    parser = configured_slides(bundle, settings, {"dataset_dir": slide, "output_dir": output})
    try:
        maps = parser.get_parsed_content("maps")
        whole = all(made.whole for made in maps)
        if whole:
            parser.get_parsed_content(
                "writer"
            ).finish()  # contours of another threshold, and what a killed run has left
        else:
            parser.get_parsed_content("run")
        return not whole
    finally:
        del parser
        gc.collect()  # a network and a file of tiles go before the next slide's come


def check_slides(bundle: str, settings: Mapping[str, Any]) -> None:
    """Refuse, before any slide is looked at, what no slide could be run with.

    Raises:
        FileNotFoundError: if there is no trained student, or nothing was exported of it for the runtime.
        ValueError: as for ``make_maps``.
    """
    parser = configured_slides(bundle, settings, {})
    model = Path(parser.get_parsed_content("model_path"))
    if not model.is_file():
        raise FileNotFoundError(f"{model}: expected a trained model, found nothing there")
    parser.get_parsed_content("network")


def configured_slides(bundle: str, settings: Mapping[str, Any], places: Mapping[str, str]) -> ConfigParser:
    """A bundle's ``slides.yaml`` with settings, and those of its student: what ``initialize`` does for a command line.

    Args:
        bundle: its folder.
        settings: overrides, of the types that their keys have, or words for them.
        places: ``dataset_dir`` and ``output_dir``.

    Raises:
        ValueError: for a setting that the configuration has no place for or the student contradicts.
    """
    from monai.bundle import ConfigParser

    find_scripts(bundle)
    parser = ConfigParser()
    parser.read_config(str(Path(bundle) / SLIDES_CONFIG))
    if problems := unknown_keys(settings, parser.config):
        raise ValueError(f"{Path(bundle) / SLIDES_CONFIG}: {'; '.join(problems)}")
    values = {key: typed(value, parser.get(key, "$")) for key, value in settings.items()}
    quiet = {key: value for key, value in _QUIET.items() if key in parser}
    parser.update({**quiet, **values, **places, "bundle_root": bundle})
    model = Path(parser.get_parsed_content("model_path"))
    if model.is_file():
        adopt(parser, model, given=list(settings))
    return parser
