"""Whole slides: tiles in, probability maps out. Needs the extra: ``pip install "medkd[slides]"``."""

from medkd.reading.annotations import Annotation, rasterise, read_annotation
from medkd.reading.slides import Slide, open_slide, read_tile
from medkd.slides.dataset import SlideTiles
from medkd.slides.grid import Grid
from medkd.slides.plan import SlidePlan, find_slides, plan_slides
from medkd.slides.probability_map import ProbabilityMap
from medkd.slides.region import map_region
from medkd.slides.resolution import network_downsample
from medkd.slides.results import finish_map, open_maps
from medkd.slides.synthetic import make_slide, write_annotation
from medkd.slides.tissue import tissue_mask

__all__ = [
    "Annotation",
    "Grid",
    "ProbabilityMap",
    "Slide",
    "SlidePlan",
    "SlideTiles",
    "find_slides",
    "finish_map",
    "make_slide",
    "map_region",
    "network_downsample",
    "open_maps",
    "open_slide",
    "plan_slides",
    "rasterise",
    "read_annotation",
    "read_tile",
    "tissue_mask",
    "write_annotation",
]
