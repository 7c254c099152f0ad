"""Transforms, one idea per file."""

from medkd.reading.frames import to_mask, to_rgb
from medkd.reading.tiles import to_tile
from medkd.transforms.annotated import IgnoreUnannotatedd
from medkd.transforms.batches import SEED, RandAffineBatchd, RandIntensityBatchd
from medkd.transforms.cases import LoadCased
from medkd.transforms.checks import CheckCased, CheckFilesd
from medkd.transforms.predictions import LoadPredictiond
from medkd.transforms.seeds import seed_label
from medkd.transforms.sizes import Resized
from medkd.transforms.smoothing import SmoothMapd
from medkd.transforms.spacing import Spacingd
from medkd.transforms.standard import intensities, network_grid
from medkd.transforms.supervision import SupervisionLabelsd
from medkd.transforms.tiles import LoadTiled
from medkd.transforms.writers import AtomicNibabelWriter

__all__ = [
    "SEED",
    "AtomicNibabelWriter",
    "CheckCased",
    "CheckFilesd",
    "IgnoreUnannotatedd",
    "LoadCased",
    "LoadPredictiond",
    "LoadTiled",
    "RandAffineBatchd",
    "RandIntensityBatchd",
    "Resized",
    "SmoothMapd",
    "Spacingd",
    "SupervisionLabelsd",
    "intensities",
    "network_grid",
    "seed_label",
    "to_mask",
    "to_rgb",
    "to_tile",
]
