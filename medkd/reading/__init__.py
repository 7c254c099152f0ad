"""Files become arrays: volumes, frames, tiles, slides (those need the extra ``slides``) and their annotations."""

from medkd.reading.frames import read_frame, to_mask, to_rgb
from medkd.reading.images import FRAME_SUFFIXES, VOLUME_READERS, is_frame, load_image, load_label
from medkd.reading.series import series_problems
from medkd.reading.tiles import read_tile_mask, read_tile_pixels, to_tile

__all__ = [
    "FRAME_SUFFIXES",
    "VOLUME_READERS",
    "is_frame",
    "load_image",
    "load_label",
    "read_frame",
    "read_tile_mask",
    "read_tile_pixels",
    "series_problems",
    "to_mask",
    "to_rgb",
    "to_tile",
]
