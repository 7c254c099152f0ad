"""``medkd show``: what can be set in a bundle, and what its student was trained with."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "list what can be set in a bundle, and what its student was trained with"

_NO_RUN = {"demo.yaml", "ladder.yaml", "tracking.yaml"}  # which no command line is for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which bundle."""
    parser.add_argument("bundle", help="the bundle's folder; with --code also one configuration file")
    parser.add_argument(
        "--code",
        action="store_true",
        help="list what its configurations would run: expressions, imports, and all they call but components of MONAI",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from medkd.bundle.keys import settable

    bundle = Path(options.bundle)
    if options.code:
        _show_code(bundle)
        return
    files = sorted((bundle / "configs").glob("*.yaml"), key=lambda path: (path.name != "train.yaml", path.name))
    if not files:
        raise FileNotFoundError(f"{bundle / 'configs'}: expected the configurations of a bundle, found none")
    for path, keys in ((path, settable(path)) for path in files if path.name not in _NO_RUN):
        print(f"\n{path}    # --KEY VALUE sets one on the command line")
        for key in keys:
            print(f"  {key.name} = {key.value}" + (f"    # {key.comment}" if key.comment else ""))
    _show_student(bundle / "models" / "model.pt")


def _show_code(bundle: Path) -> None:
    import yaml

    from medkd.bundle.code import code_in

    files = [bundle] if bundle.is_file() else sorted((bundle / "configs").glob("*"))
    files = [path for path in files if path.suffix in {".yaml", ".yml", ".json"}]
    if not files:
        raise FileNotFoundError(f"{bundle / 'configs'}: expected the configurations of a bundle, found none")
    for path in files:
        print(f"\n{path}")
        for place, text in code_in(yaml.safe_load(path.read_text(encoding="utf-8"))):
            print(f"  {place}: {text}")


def _show_student(model: Path) -> None:
    from medkd.networks.checkpoints import read_settings

    if not model.is_file():
        print(f"\n{model}    # not there: not trained yet")
        return
    settings = read_settings(model)
    print(f"\n{model}    # " + ("trained with" if settings else "does not say what it was trained with"))
    for key, value in settings.items():
        print(f"  {key} = {value}")
