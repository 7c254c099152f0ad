"""The committed split files are what the code makes."""

import csv
import json
from pathlib import Path

from medkd.datasets.acdc import split_acdc
from medkd.datasets.polyp import clinicdb_sequences
from medkd.datasets.split import split_patients

DATA = Path(__file__).parents[2] / "data"


def test_committed_splits_are_those_of_the_command() -> None:
    patients = [f"patient{number:03d}" for number in range(1, 101)]
    for fold in range(5):
        committed = json.loads((DATA / "acdc" / "splits.json").read_text())[f"fold{fold}"]
        assert committed == split_acdc(patients, strong=3, fold=fold, seed=0)
        sections = [set(committed[name]) for name in ("training", "validation", "test")]
        assert set.union(*sections) == set(patients)
        assert sum(map(len, sections)) == 100


def test_committed_polyp_split_is_that_of_the_command() -> None:
    committed = json.loads((DATA / "polyp" / "splits.json").read_text())
    frames = [frame for section in committed.values() for frame in section]
    assert len(frames) == 1450
    sequences = dict(csv.reader((DATA / "polyp" / "clinicdb_sequences.csv").open()))
    del sequences["frame"]
    assert len(set(sequences.values())) == 29
    assert sorted(map(int, sequences)) == list(range(1, 613))
    assert clinicdb_sequences().set_index("frame")["sequence"].to_dict() == sequences
    groups = {frame: f"sequence {sequences[frame]}" if frame in sequences else f"frame {frame}" for frame in frames}
    split = split_patients(sorted(set(groups.values())), {"validation": 0.1}, 0)
    assert sorted(committed["validation"]) == sorted(frame for frame in frames if split[groups[frame]] == "validation")
