"""What tests need to know of Compact."""

from pathlib import Path

from medkd.datasets import make_cardiac_phantoms

from ..cases import QUICK, ROOT, Case
from ..docs import sources
from .method import Demo, Method


def case(root: Path) -> Case:
    make_cardiac_phantoms(root / "data", strong=1, weak=3, validation=3, test=2, size=64, slices=3)
    networks = {"teacher_def#features": [8, 8, 16, 32, 64, 16]}
    case = Case(
        bundle=ROOT / "bundles" / "compact_segmentation",
        data=root / "data",
        settings={**QUICK, **networks, "patch_size": [32, 32], "images_per_batch": 2},
        channels=1,
        traced=False,
        score_header="case,patient,branch,class,dice,hd95,surface_dice,unit",
        score_line=r".+\.nii\.gz,.+,student,.+,mm",
        scores=2 * 3,  # images x classes
        summary="student",
    )
    case.train(root / "teacher", "train_teacher.yaml", max_epochs=1)
    case.settings["teacher_path"] = root / "teacher" / "checkpoints" / "teacher.pt"
    return case


METHOD = Method(
    kind="heart",
    small={"patch_size": [32, 32]},
    training={"images_per_batch": 2, "teacher_def#features": [8, 8, 16, 32, 64, 16]},
    phantoms=lambda folder: make_cardiac_phantoms(folder, strong=1, weak=0, validation=1, test=1, size=48, slices=2),
    case=case,
    terms=["train/pixel"],
    demo=Demo(
        short=["max_epochs=4", "epoch_length=10", "val_interval=4", "teacher_def#features=[8, 8, 16, 32, 64, 8]"],
        order=["pixel"],
        student="pixel",
        least=0.3,
    ),
    alone={"pixel_weight": 0},
    sources={"DIR": sources.hearts, "TEACHER": sources.teacher, "IMAGES": sources.heart_images},
    ladder={"rungs": ["teacher", "pixel"], "claims": {"pixel": ["teacher"]}, "selections": {}},
)
