"""Networks; ``forward`` gives a named tuple in training mode and the student's prediction in eval mode."""

from medkd.networks.dual_branch import DualBranch, DualBranchUNet
from medkd.networks.outputs import DualBranchOutput

__all__ = ["DualBranch", "DualBranchOutput", "DualBranchUNet"]
