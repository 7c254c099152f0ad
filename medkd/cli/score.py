"""``medkd score``: the field's polyp measures of a folder of predictions, whoever made them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = "score a folder of polyp predictions by the field's protocol"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two folders, and the file to write."""
    parser.add_argument("predictions", help="folder of grey maps (probabilities) or masks, one per mask, of its stem")
    parser.add_argument("masks", help="folder of masks")
    parser.add_argument("--json", default=None, metavar="FILE", help="write the scores there")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from medkd.files import atomic_path
    from medkd.score import score_folders

    scores = score_folders(options.predictions, options.masks, progress=True)
    if options.json:
        with atomic_path(Path(options.json)) as partial:
            partial.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
    for name, value in scores.items():
        print(f"{name:<8}{value:.4f}")
