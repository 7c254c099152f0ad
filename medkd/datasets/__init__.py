"""Datasets: a source folder becomes a checked datalist; a datalist becomes batches."""

from medkd.datasets.acdc import prepare_acdc
from medkd.datasets.auto_cache import AutoCacheDataset
from medkd.datasets.datalist import check_datalist, load_datalist, write_datalist
from medkd.datasets.glas import prepare_glas
from medkd.datasets.histology_phantoms import make_histology_phantoms
from medkd.datasets.multiscale import MultiScaleLoader
from medkd.datasets.phantoms import make_cardiac_phantoms
from medkd.datasets.polyp import prepare_polyp
from medkd.datasets.polyp_phantoms import make_polyp_phantoms
from medkd.datasets.predictions import with_predictions
from medkd.datasets.seeded_cache import SeededCacheDataset
from medkd.datasets.studies import find_frames, find_studies
from medkd.datasets.tile_scale import tile_scale
from medkd.datasets.tiles import prepare_tiles
from medkd.datasets.two_groups import TwoGroupBatchSampler, TwoGroupLoader
from medkd.errors import DataError

__all__ = [
    "AutoCacheDataset",
    "DataError",
    "MultiScaleLoader",
    "SeededCacheDataset",
    "TwoGroupBatchSampler",
    "TwoGroupLoader",
    "check_datalist",
    "find_frames",
    "find_studies",
    "load_datalist",
    "make_cardiac_phantoms",
    "make_histology_phantoms",
    "make_polyp_phantoms",
    "prepare_acdc",
    "prepare_glas",
    "prepare_polyp",
    "prepare_tiles",
    "tile_scale",
    "with_predictions",
    "write_datalist",
]
