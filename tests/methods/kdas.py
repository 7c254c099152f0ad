"""What tests need to know of KDAS."""

from pathlib import Path

from medkd.datasets import make_polyp_phantoms

from ..cases import QUICK, ROOT, Case
from ..docs import sources
from .method import Demo, Method


def case(root: Path) -> Case:
    make_polyp_phantoms(root / "data", training=6, validation=3, test=2, size=64)
    case = Case(
        bundle=ROOT / "bundles" / "kdas_polyp_segmentation",
        data=root / "data",
        settings={**QUICK, "image_size": [64, 96], "scales": [1.0, 0.5], "batch_size": 2, "teacher_def#backbone": "b1"},
        channels=3,
        traced=True,
        score_header="case,patient,dataset,branch,class,dice,iou",
        score_line=r"(phantom\d+)\.png,\1,phantoms,student,polyp,[01]\.\d+,[01]\.\d+",
        scores=2,
        summary="phantoms",
    )
    case.train(root / "teacher", "train_teacher.yaml", max_epochs=1)
    case.settings["teacher_path"] = root / "teacher" / "checkpoints" / "teacher.pt"
    return case


METHOD = Method(
    kind="polyp",
    small={"image_size": [64, 96]},
    training={"scales": [1.0], "batch_size": 2, "teacher_def#backbone": "b1"},
    phantoms=lambda folder: make_polyp_phantoms(folder, training=2, validation=2, test=1, size=64),
    case=case,
    terms=["train/attention"],
    demo=Demo(
        short=[
            "max_epochs=8",
            "epoch_length=5",
            "teacher:max_epochs=8",
            "teacher_def#backbone=lite0",
            "val_interval=8",
            "network_def={_target_: medkd.networks.PolypPVT, backbone: lite0_tiny, channels: 16, pretrained: imagenet}",
        ],
        order=["kdas"],
        student="kdas",
        least=0.4,  # after one step it is .05
    ),
    alone={"alpha": 0},
    sources={"POLYP_FOLDER": sources.polyp, "FRAMES": sources.frames, "MASKS": sources.frame_masks},
)
