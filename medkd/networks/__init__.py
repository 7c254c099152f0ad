"""Networks; ``forward`` gives a named tuple in training mode and the student's prediction in eval mode."""

from medkd.networks.backbones import load_pvt_v2
from medkd.networks.checkpoints import load_model
from medkd.networks.dual_branch import DualBranch, DualBranchUNet
from medkd.networks.outputs import DualBranchOutput, PolypPVTOutput
from medkd.networks.polyp_pvt import PolypPVT

__all__ = [
    "DualBranch",
    "DualBranchOutput",
    "DualBranchUNet",
    "PolypPVT",
    "PolypPVTOutput",
    "load_model",
    "load_pvt_v2",
]
