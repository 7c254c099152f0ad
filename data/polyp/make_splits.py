"""Write the committed files of this folder: the sequences of CVC-ClinicDB, and the split that `medkd data polyp` makes.

python data/polyp/make_splits.py SOURCE    # SOURCE: the folder of TrainDataset and TestDataset
"""

import json
import sys
import tempfile
from pathlib import Path

from medkd.datasets import load_datalist, prepare_polyp
from medkd.datasets.polyp import clinicdb_sequences

HERE = Path(__file__).parent


def main(source: str) -> None:
    """Write both files beside this one."""
    clinicdb_sequences().to_csv(HERE / "clinicdb_sequences.csv", index=False)
    with tempfile.TemporaryDirectory() as folder:
        prepare_polyp(source, Path(folder) / "data", sequences="clinicdb")
        found = load_datalist(Path(folder) / "data")
    sections = {name: sorted(Path(item["image"]).stem for item in found[name]) for name in ("training", "validation")}
    (HERE / "splits.json").write_text(json.dumps(sections, indent=0) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
