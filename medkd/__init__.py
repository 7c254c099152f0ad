"""medkd: knowledge distillation for medical image segmentation, as MONAI bundles.

Importing the root is cheap; a subpackage is imported when it is first used, ``medkd.losses.ConfKDLoss`` for example.
"""

import importlib
import os
import sys
from typing import Any

# What runs in a clinic is nobody's business: MLflow would report its use. Who wants that sets the variable to "false".
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
if "mlflow.telemetry" in sys.modules:  # MONAI imports MLflow before a bundle imports medkd
    sys.modules["mlflow.telemetry"].set_telemetry_client()

__version__ = "0.1.0"

__all__ = [
    "bundle",
    "datasets",
    "distributed",
    "engines",
    "handlers",
    "losses",
    "metrics",
    "networks",
    "runs",
    "slides",
    "transforms",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"medkd.{name}")
    raise AttributeError(f"module 'medkd' has no attribute {name!r}")
