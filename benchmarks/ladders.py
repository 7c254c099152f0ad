"""The ladders of docs/methods on real data, one command for each table; stopped, it goes on when called again.

    python benchmarks/ladders.py kdas POLYP OUT
    python benchmarks/ladders.py confkd-seeds-3 ACDC OUT --seeds 0 1 2
    python benchmarks/ladders.py ikdmil-gm GLAS OUT
    python benchmarks/ladders.py compact-polyp POLYP OUT    # after `kdas`, whose teacher of seed 0 teaches
    python benchmarks/ladders.py compact-acdc ACDC OUT      # after `compact-acdc-teacher ACDC OUT --seeds 0`

POLYP is the folder of TrainDataset and TestDataset, ACDC that of patient001, patient002, …, GLAS that of images, masks and
grade.csv. OUT/data gets the datalist, OUT/NAME the cells, their scores per case, and the tables.
"""

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BUNDLES = Path(__file__).resolve().parents[1] / "bundles"
_GLAND = ["class_names=[gland]"]
_DICE = [*_GLAND, "bag_loss={_target_: medkd.losses.BagDiceLoss}"]
# Without the rungs that do not depend on the weak labels, or on the MIL teacher.
_CONFKD = ["weak_only", "one_branch", "decoupled", "kl", "kl_entropy", "mean_teacher", "cross_pseudo_supervision"]
# What suits the network of 2 million parameters that teaches the small one.
_LARGE = ["learning_rate=0.001", "memory_format=contiguous_format"]
# Patches of volumes: a step has eleven times the multiplications of one of the recipe's.
_VOLUMES = ["patch_size=[160,160,16]", "volumes_per_batch=2", "epoch_length=16"]
_MAIN = ["one_branch", "kl_entropy", "mean_teacher", "cross_pseudo_supervision"]


@dataclass
class Table:
    """What a table is made with: the bundle, ``medkd data …``, recipes, overrides, and rungs if not all."""

    bundle: str
    data: list[str]
    recipes: list[str]
    settings: list[str]
    rungs: list[str]
    teacher: str = ""  # the table whose teacher's predictions the students learn from
    teacher_epochs: int = (
        0  # of a teacher that is trained once, longer than the students, and teaches those of every seed
    )


def _polyp(*recipes: str, data: tuple[str, ...] = (), settings: tuple[str, ...] = (), teacher_epochs: int = 0) -> Table:
    kind = ["polyp", "--sequences", "clinicdb", *data]
    return Table("kdas_polyp_segmentation", kind, list(recipes), list(settings), [], teacher_epochs=teacher_epochs)


def _acdc(weak: str, strong: int, rungs: list[str], recipe: str = "cpu", settings: list[str] | None = None) -> Table:
    data = ["acdc", "--strong", str(strong), "--weak", weak]
    return Table("confkd_cardiac_mri_segmentation", data, [recipe], settings or [], rungs)


def _glas(settings: list[str], rungs: list[str], recipe: str = "cpu") -> Table:
    data = ["glas", "--positive_fraction", "0.1"]
    return Table("ikdmil_histology_segmentation", data, [recipe], settings, rungs)


def _compact_polyp(*data: str) -> Table:
    kind = ["polyp", "--sequences", "clinicdb", *data]
    return Table("compact_segmentation", kind, ["polyp"], [], ["folder"], teacher="kdas")


def _compact_acdc(*settings: str, rung: str = "folder", teacher: str = "compact-acdc-teacher") -> Table:
    kind = ["acdc", "--strong", "3", "--weak", "random"]
    return Table("compact_segmentation", kind, ["heart"], list(settings), [rung], teacher=teacher)


TABLES = {
    "kdas": _polyp("cpu", teacher_epochs=20),
    "kdas-20-epochs": _polyp("cpu", settings=("max_epochs=20",), teacher_epochs=20),
    "kdas-tiny": _polyp("cpu", "tiny"),
    "kdas-tiny-200": _polyp("cpu", "tiny", data=("--labelled", "200"), teacher_epochs=8),
    "kdas-gpu": _polyp("cpu", "gpu_lite"),
    "kdas-tiny-gpu": _polyp("cpu", "gpu_lite", "tiny"),
    "kdas-authors": _polyp("gpu"),
    "confkd-seeds-3": _acdc("random", 3, ["strong_only", *_CONFKD, "full_supervision"]),
    "confkd-seeds-10": _acdc("random", 10, ["strong_only", *_MAIN]),
    "confkd-scribbles-3": _acdc("scribble", 3, _CONFKD),
    "confkd-scribbles-10": _acdc("scribble", 10, _MAIN),
    "confkd-3d": _acdc("random", 3, ["one_branch", "kl_entropy"], settings=_VOLUMES),
    "confkd-gpu": _acdc("random", 3, [], "gpu"),
    "ikdmil-gm": _glas(
        _GLAND, ["mil_teacher", "pseudo_masks", "fusion", "weighted_ce", "role_switch", "full_supervision"]
    ),
    "ikdmil-dice": _glas(_DICE, ["mil_teacher", "pseudo_masks", "fusion", "role_switch"]),
    "compact-polyp": _compact_polyp(),
    "compact-polyp-200": _compact_polyp("--labelled", "200"),
    "compact-acdc-teacher": _compact_acdc(*_LARGE, rung="teacher", teacher=""),
    "compact-acdc": _compact_acdc(),
    "compact-acdc-3": _compact_acdc("supervision=strong"),  # masks of 3 patients; the teacher's prediction of all
    "ikdmil-gpu": _glas(_GLAND, [], "gpu"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("source")
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    parser.add_argument("--rungs", nargs="+", default=None)
    parser.add_argument("--jobs", default="2", help="trainings at once; one for each core, more on a GPU (default: 2)")
    options = parser.parse_args()
    table = TABLES[options.table]
    kind, *how = table.data
    data = options.output / "data" / "-".join([kind, *(word.lstrip("-") for word in how)])
    if not data.exists():
        medkd("data", kind, options.source, str(data), *how)
    bundle, settings = BUNDLES / table.bundle, list(table.settings)
    if table.teacher:
        settings.append(f"teacher_dir={predictions(options.output, table.teacher, data)}")
    ladder = options.output / options.table
    command = ["ladder", str(bundle), "--dataset_dir", str(data), "--output_dir", str(ladder), "--jobs", options.jobs]
    command += ["--recipe", *(str(bundle / "configs" / "recipes" / f"{name}.yaml") for name in table.recipes)]
    if table.teacher_epochs:
        longer = ["--set", *settings, f"teacher:max_epochs={table.teacher_epochs}"]
        medkd(*command, "--seeds", options.seeds[0], "--rungs", "teacher", *longer)
        for seed in options.seeds[1:]:
            share(ladder / "teacher", options.seeds[0], seed)
        settings.append(longer[-1])
    rungs = options.rungs or table.rungs
    command += ["--seeds", *options.seeds, *(["--rungs", *rungs] if rungs else [])]
    medkd(*command, *(["--set", *settings] if settings else []))
    return 0


def share(rung: Path, seed: str, other: str) -> None:
    """Let a cell stand for that of another seed."""
    source, target = rung / f"seed{seed}", rung / f"seed{other}"
    if not target.exists():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("settings.json", "checkpoints"))
        settings = json.loads((source / "settings.json").read_text(encoding="utf-8"))
        (target / "settings.json").write_text(json.dumps({**settings, "seed": int(other)}), encoding="utf-8")


def predictions(output: Path, ladder: str, data: Path) -> Path:
    """Of the teacher that another table's rung ``teacher`` left with seed 0."""
    folder, bundle = output / "data" / f"{data.name}-{ladder}-teacher", output / "data" / f"{ladder}-teacher"
    if not bundle.exists():
        medkd("bundle", TABLES[ladder].bundle, str(bundle))
        (bundle / "models").mkdir()
        shutil.copy(output / ladder / "teacher" / "seed0" / "models" / "model.pt", bundle / "models" / "model.pt")
    medkd("teach", str(bundle), str(data), str(folder))  # which does nothing again
    return folder.resolve()


def medkd(*arguments: str) -> None:
    status = subprocess.run([sys.executable, "-m", "medkd.cli", *arguments]).returncode
    if status:
        sys.exit(status)  # it has said why


if __name__ == "__main__":
    sys.exit(main())
