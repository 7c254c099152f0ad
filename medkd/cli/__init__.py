"""The command ``medkd``: thin verbs over the modules of the package, one file per group of verbs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from medkd import __version__, program
from medkd.cli import (
    bundle,
    collection,
    data,
    demo,
    deploy,
    efficiency,
    export,
    freeze,
    infer,
    label_env,
    ladder,
    overlay,
    report,
    score,
    show,
    teach,
    tracking,
)

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; an error is printed as one line, its traceback goes to a file.

    Args:
        arguments: of the command; those of the process by default, which then is the command and no library.

    Returns:
        The exit status: 0, or 1 after such an error.
    """
    if arguments is None:
        program.watch()
    options = _parser().parse_args(arguments)
    program.quiet()
    try:
        options.run(options)
    except Exception as error:  # noqa: BLE001 - the end of the program
        program.report(error)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="medkd", description="Knowledge distillation for MONAI bundles.")
    parser.add_argument("--version", action="version", version=f"medkd {__version__}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    verbs_of_use = (export, efficiency, overlay, infer, collection, freeze, deploy, label_env, demo)
    for verb in (bundle, show, data, teach, ladder, report, tracking, score, *verbs_of_use):
        name = verb.__name__.rpartition(".")[2].replace("_", "-")
        verb.add_arguments(
            verbs.add_parser(name, help=verb.HELP, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        )
    return parser
