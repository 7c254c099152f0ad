"""What tests need to know of ConfKD."""

from pathlib import Path

from medkd.datasets import make_cardiac_phantoms

from ..cases import QUICK, ROOT, Case
from ..docs import sources
from .method import Demo, Method


def case(root: Path) -> Case:
    make_cardiac_phantoms(root / "data", strong=1, weak=3, validation=3, test=2, size=64, slices=3)
    network = {"network_def#channels": [4, 8, 16, 16]}
    return Case(
        bundle=ROOT / "bundles" / "confkd_cardiac_mri_segmentation",
        data=root / "data",
        settings={**QUICK, **network, "patch_size": [32, 32], "volumes_per_batch": 2},
        channels=1,
        traced=False,
        score_header="case,patient,branch,class,dice,hd95,surface_dice,unit",
        score_line=r".+\.nii\.gz,.+,(student|teacher),.+,mm",
        scores=2 * 2 * 3,  # images x branches x classes
        summary="student",
    )


METHOD = Method(
    kind="heart",
    small={"network_def#channels": [4, 8, 16, 16], "patch_size": [32, 32]},
    training={"volumes_per_batch": 2},
    phantoms=lambda folder: make_cardiac_phantoms(folder, strong=1, weak=0, validation=1, test=1, size=48, slices=2),
    case=case,
    terms=["train/kl", "train/pce"],
    demo=Demo(
        short=["max_epochs=4", "epoch_length=11", "val_interval=4"],
        order=["weak_only", "kl_entropy", "full_supervision"],
        student="kl_entropy",
        least=0.5,
    ),
    sources={"ACDC_FOLDER": sources.acdc, "STUDY": sources.study},
    ladder={"rungs": ["one_branch", "kl_entropy"], "claims": {"kl_entropy": ["one_branch"]}, "selections": {}},
)
