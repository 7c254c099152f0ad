"""Write the committed files of this folder: the sequences of CVC-ClinicDB, and the split that `medkd data polyp` makes.

python data/polyp/make_splits.py SOURCE    # SOURCE: the folder of TrainDataset and TestDataset
"""

import csv
import json
import sys
import tempfile
from pathlib import Path

from medkd.datasets import load_datalist, prepare_polyp

HERE = Path(__file__).parent
# Last frame of each of the 29 sequences (https://polyp.grand-challenge.org/CVCClinicDB/).
ENDS = [25, 50, 67, 78, 103, 126, 151, 177, 199, 205, 227, 252, 277, 297, 317, 342, 363, 383, 408, 428, 447, 466, 478]
ENDS += [503, 528, 546, 571, 591, 612]


def main(source: str) -> None:
    """Write both files beside this one."""
    with (HERE / "clinicdb_sequences.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["frame", "sequence"])
        for number, (first, last) in enumerate(zip([0, *ENDS], ENDS, strict=False), 1):
            writer.writerows([frame, number] for frame in range(first + 1, last + 1))
    with tempfile.TemporaryDirectory() as folder:
        prepare_polyp(source, Path(folder) / "data", sequences=HERE / "clinicdb_sequences.csv")
        found = load_datalist(Path(folder) / "data")
    sections = {name: sorted(Path(item["image"]).stem for item in found[name]) for name in ("training", "validation")}
    (HERE / "splits.json").write_text(json.dumps(sections, indent=0) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
