"""``medkd deploy``: a trained bundle into a MONAI Label app."""

from __future__ import annotations

import argparse

from medkd.cli.runtime import add_runtime

HELP = "check a bundle as a MONAI Label server will use it, and put it into the server's app"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bundle, the app, or the name to take back."""
    parser.add_argument(
        "bundle",
        help="the bundle's folder, with models/model.pt, or models:/NAME@champion or models:/NAME/3 of the MLflow store that "
        "MLFLOW_TRACKING_URI names; with --rollback the name it was given",
    )
    parser.add_argument("app_dir", help="folder of the MONAI Label app; medkd's own is made where there is none")
    parser.add_argument(
        "--name", default=None, help="what the server will call it (default: the name of the folder or model)"
    )
    add_runtime(parser)
    parser.add_argument("--link", action="store_true", help="lead to the bundle itself instead of copying it")
    parser.add_argument("--rollback", action="store_true", help="serve the version before the present one again")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from pathlib import Path

    from medkd.serving import deploy, deploy_model, rollback
    from medkd.serving.registry import is_model_uri, registered_name

    how = {"runtime": options.runtime, "precision": options.precision}
    if options.rollback:
        named = registered_name(options.bundle) if is_model_uri(options.bundle) else Path(options.bundle).name
        found = rollback(options.app_dir, options.name or named)
    elif is_model_uri(options.bundle):
        if options.link or options.runtime not in (None, "pytorch"):
            raise ValueError(
                f"{options.bundle}: expected neither --link nor another --runtime: it is downloaded, not exported"
            )
        found = deploy_model(options.bundle, options.app_dir, name=options.name)
    else:
        found = deploy(options.bundle, options.app_dir, name=options.name, link=options.link, **how)
    print(f"Serves:   {found.path} -> {found.version}")
    print(f"Start:    {found.command}")
    print("          (a server that runs takes it from the next request on; the stock app must be started anew)")
