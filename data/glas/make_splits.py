"""Write splits.json: the patients of each section, as `medkd data glas` splits them with its defaults.

python data/glas/make_splits.py SOURCE    # SOURCE: the folder of images, masks and grade.csv
"""

import json
import sys
import tempfile
from pathlib import Path

from medkd.datasets import load_datalist, prepare_glas


def main(source: str) -> None:
    """Write the file beside this one."""
    with tempfile.TemporaryDirectory() as folder:
        prepare_glas(source, Path(folder) / "data")
        found = load_datalist(Path(folder) / "data")
    names = ("training", "validation", "test")
    sections = {name: sorted({item["patient"] for item in found[name]}) for name in names}
    (Path(__file__).parent / "splits.json").write_text(json.dumps(sections, indent=0) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
