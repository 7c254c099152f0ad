"""The committed split files are what the code makes."""

import json
from pathlib import Path

from medkd.datasets.acdc import split_patients

FILE = Path(__file__).parents[2] / "data" / "acdc" / "splits.json"


def test_committed_splits_are_those_of_the_command() -> None:
    patients = [f"patient{number:03d}" for number in range(1, 101)]
    for fold in range(5):
        committed = json.loads(FILE.read_text())[f"fold{fold}"]
        assert committed == split_patients(patients, strong=3, fold=fold, seed=0)
        sections = [set(committed[name]) for name in ("training", "validation", "test")]
        assert set.union(*sections) == set(patients)
        assert sum(map(len, sections)) == 100
