"""``medkd deploy``: a trained bundle into a MONAI Label app."""

from __future__ import annotations

import argparse

from medkd.cli.runtime import add_runtime

HELP = "check a bundle as a MONAI Label server will use it, and put it into the server's app"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bundle, the app, or the name to take back."""
    parser.add_argument(
        "bundle", help="the bundle's folder, with models/model.pt; with --rollback the name it was given"
    )
    parser.add_argument("app_dir", help="folder of the MONAI Label app; medkd's own is made where there is none")
    parser.add_argument("--name", default=None, help="what the server will call it (default: the folder's name)")
    add_runtime(parser)
    parser.add_argument("--link", action="store_true", help="lead to the bundle itself instead of copying it")
    parser.add_argument("--rollback", action="store_true", help="serve the version before the present one again")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from pathlib import Path

    from medkd.serving import deploy, rollback

    if options.rollback:
        found = rollback(options.app_dir, options.name or Path(options.bundle).name)
    else:
        how = {"runtime": options.runtime, "precision": options.precision}
        found = deploy(options.bundle, options.app_dir, name=options.name, link=options.link, **how)
    print(f"Serves:   {found.path} -> {found.version}")
    print(f"Start:    {found.command}")
    print("          (a server that runs takes it from the next request on; the stock app must be started anew)")
