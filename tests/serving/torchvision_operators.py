"""Lets PyPI's torchvision be imported beside a torch without CUDA; for the tests' server environment alone.

PyPI's torchvision is built for CUDA and fails beside a CPU build of torch: "operator torchvision::nms does not exist".
MONAI Label uses nothing of it but pictures, so declaring the two operators is enough. The declaration waits until
torchvision is asked for: this module is imported at every start of Python.
"""

import sys
from importlib.abc import MetaPathFinder


class _Declare(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            for operator in ("nms", "qnms"):
                torch.library.define(
                    f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                )


sys.meta_path.insert(0, _Declare())
