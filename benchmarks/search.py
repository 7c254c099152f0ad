"""Settings of a recipe, compared on the validation part of the data alone; stopped, it goes on when called again.

    python benchmarks/search.py benchmarks/searches/ikdmil_teacher.yaml DATA OUT --seeds 0

The file names a bundle, the rung of its ladder that is varied, settings of all, and the overrides of each variant. Every
variant is trained as a rung is, and scored as a rung is, but on the validation patients. OUT gets the ladder's tables.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import yaml

from medkd.ladder import load_ladder, overridden, render, run_ladder

BUNDLES = Path(__file__).resolve().parents[1] / "bundles"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("search", type=Path)
    parser.add_argument("data")
    parser.add_argument("output")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--variants", nargs="+", default=None)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides of all variants")
    options = parser.parse_args()
    search = yaml.safe_load(options.search.read_text())
    bundle = BUNDLES / search["bundle"]
    recipes = [bundle / "configs" / name for name in search.get("recipes", [])]
    ladder, given = overridden(load_ladder(bundle, [search["rung"]], recipes=recipes), options.set)
    base = ladder.rungs[search["rung"]]
    chosen = options.variants or list(search["variants"])
    rungs = {name: {**base, **(search["variants"][name] or {})} for name in chosen}
    ladder = replace(ladder, rungs=rungs, claims={}, baseline=None)
    shared = {**search.get("settings", {}), **given, "split": "validation"}
    print(
        render(
            ladder, run_ladder(ladder, options.output, dataset_dir=options.data, seeds=options.seeds, overrides=shared)
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
