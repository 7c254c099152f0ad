"""What tests need to know of IKD-MIL."""

from pathlib import Path

from medkd.datasets import make_histology_phantoms

from ..cases import QUICK, ROOT, Case
from ..docs import sources
from .method import Demo, Method


def case(root: Path) -> Case:
    make_histology_phantoms(root / "data", training=8, validation=5, test=4, size=64)
    switch = {"teacher_epochs": 1, "switch_epochs": [1, 2]}
    case = Case(
        bundle=ROOT / "bundles" / "ikdmil_histology_segmentation",
        data=root / "data",
        settings={**QUICK, **switch, "image_size": [64, 48], "batch_size": 4},
        channels=3,
        traced=True,
        score_header="case,location,region,patient,positive,branch,f1,iou,hausdorff,background_f1",
        score_line=r"(phantom\d+)\.png,,\1,\1,[01],(student|all_foreground),([\d.]*,){3}[\d.]*",
        scores=4 * 2,  # tiles x (student, baseline)
        summary="all_foreground",
        key_metric="val_selection",
    )
    case.train(root / "teacher", last_stage=1)
    case.settings["teacher_path"] = root / "teacher" / "checkpoints" / "teacher" / "best.pt"
    return case


METHOD = Method(
    kind="tissue",
    small={"image_size": [64, 48]},
    training={"batch_size": 4, "switch_epochs": [1], "teacher_epochs": 1},
    phantoms=lambda folder: make_histology_phantoms(folder, training=4, validation=4, test=2, size=64),
    case=case,
    terms=["train/distillation"],
    demo=Demo(
        short=["teacher_epochs=2", "max_epochs=3", "epoch_length=6", "val_interval=3", "image_size=[64, 64]"],
        order=["all_foreground", "mil_teacher", "full_supervision"],
        student="role_switch",
        least=0.82,  # after one step it is .77
    ),
    sources={
        "TILES": sources.tiles,
        "MASKS": sources.tile_masks,
        "labels.csv": sources.tile_labels,
        "SLIDES": sources.slides,
    },
)
