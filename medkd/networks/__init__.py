"""Networks; ``forward`` gives a named tuple in training mode and the student's prediction in eval mode."""

from medkd.networks.backbones import load_pvt_v2
from medkd.networks.checkpoints import load_model
from medkd.networks.dual_branch import DualBranch, DualBranchUNet
from medkd.networks.dual_flexible_unet import DualBranchFlexibleUNet
from medkd.networks.efficientnet_lite import EfficientNetLite
from medkd.networks.exported import ExportedNetwork
from medkd.networks.features import FeatureNetwork, with_feature
from medkd.networks.peers import MeanTeacher, TwoNetworks
from medkd.networks.polyp_pvt import PolypPVT
from medkd.networks.side_output import SideOutputNetwork, SideOutputVGG
from medkd.outputs import DualBranchOutput, FeatureOutput, PolypPVTOutput, SideOutputs

__all__ = [
    "DualBranch",
    "DualBranchFlexibleUNet",
    "DualBranchOutput",
    "DualBranchUNet",
    "EfficientNetLite",
    "ExportedNetwork",
    "FeatureNetwork",
    "FeatureOutput",
    "MeanTeacher",
    "PolypPVT",
    "PolypPVTOutput",
    "SideOutputNetwork",
    "SideOutputVGG",
    "SideOutputs",
    "TwoNetworks",
    "load_model",
    "load_pvt_v2",
    "with_feature",
]
