"""Write splits.json: the patients of every fold of ACDC's 100, with the defaults of `medkd data acdc`."""

import json
from pathlib import Path

from medkd.datasets.acdc import split_acdc

PATIENTS = [f"patient{number:03d}" for number in range(1, 101)]

if __name__ == "__main__":
    folds = {f"fold{fold}": split_acdc(PATIENTS, strong=3, fold=fold, seed=0) for fold in range(5)}
    Path(__file__).with_name("splits.json").write_text(json.dumps(folds, indent=1) + "\n", encoding="utf-8")
