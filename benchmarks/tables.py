"""The tables of docs/methods from the scores that benchmarks/results keeps; a ladder that ran in parts is put together.

    python benchmarks/tables.py kdas                               # print it
    python benchmarks/tables.py confkd-seeds-3 --add OUT/confkd-seeds-3   # keep that ladder's cells too, in place of the same ones

A cell, one rung and seed, comes from one ladder as a whole; the parts have to be of the same data and configurations.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import yaml
from ladders import BUNDLES, TABLES

from medkd.ladder import load_ladder
from medkd.ladder.table import write_tables

RESULTS = Path(__file__).resolve().parent / "results"
GROUPS = {"polyp": "sequences (or single images)"}  # what the datalist calls them
KEPT = ("patients.csv", "ladder.md")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--add", type=Path, nargs="*", default=[], help="folders of ladders of this table")
    options = parser.parse_args()
    folder = RESULTS / options.table
    files = [*folder.glob("patients.csv"), *(one / "patients.csv" for one in options.add)]
    scores = together([pd.read_csv(file, dtype={"patient": str}) for file in files])
    bundle, kind = BUNDLES / TABLES[options.table].bundle, TABLES[options.table].data[0]
    every = yaml.safe_load((bundle / "configs" / "ladder.yaml").read_text(encoding="utf-8"))["rungs"]
    names = [rung for rung in every if rung in set(scores["rung"])]  # those outside the default selection too
    ladder, groups = load_ladder(bundle, names), GROUPS.get(kind, "patients")
    ladder = replace(ladder, groups=groups, units=groups if ladder.unit == "patient" else ladder.units)
    folder.mkdir(parents=True, exist_ok=True)
    for path in write_tables(ladder, scores, folder):
        if path.name not in KEPT:
            path.unlink()
    print((folder / "ladder.md").read_text(encoding="utf-8"))
    return 0


def together(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Of a rung and seed that several have, the last."""
    numbered: pd.DataFrame = pd.concat([part.assign(part=number) for number, part in enumerate(parts)])
    last = numbered.groupby(["rung", "seed"])["part"].transform("max")
    return numbered[numbered["part"] == last].drop(columns="part")


if __name__ == "__main__":
    sys.exit(main())
