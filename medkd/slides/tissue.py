"""Where a slide has tissue: Otsu's threshold on the colourfulness of a thumbnail."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from medkd.reading.slides import Slide
from medkd.slides.resolution import read_scaled

__all__ = ["thumbnail", "tissue_mask"]

# Otsu splits whatever it is given, an empty slide's noise too, and may put pale tissue with the glass.
_CHROMA = (12.0, 40.0)  # of 255: below is noise of the camera and of JPEG; above is stain, however much there is
_SMOOTH = 5  # pixels of the thumbnail over which noise is averaged
_RIM = 2  # pixels of the thumbnail that join the tissue around it


def thumbnail(slide: Slide, longest: int = 2048) -> tuple[NDArray[np.uint8], float]:
    """A slide in small, read piece by piece: memory does not grow with the slide.

    Args:
        slide: the slide.
        longest: pixels of its longer side, at most.

    Returns:
        Pixels ``[rows, columns, 3]``, and how many level-0 pixels make one of them.
    """
    downsample = max(1.0, max(slide.size) / longest)
    rows, columns = (-int(-side // downsample) for side in slide.size)
    return read_scaled(slide, (0, 0), (rows, columns), downsample), downsample


def tissue_mask(slide: Slide, longest: int = 2048) -> tuple[NDArray[np.bool_], float]:
    """Where there is stain: difference of the largest and smallest colour channel above Otsu's threshold.

    Args:
        slide: the slide.
        longest: pixels of the mask's longer side, at most.

    Returns:
        Mask ``[rows, columns]``, and how many level-0 pixels make one of its pixels.

    Raises:
        ValueError: if there is no tissue.
    """
    pixels, downsample = thumbnail(slide, longest)
    chroma = ndimage.uniform_filter(pixels.max(-1) - pixels.min(-1), _SMOOTH)
    threshold = float(np.clip(threshold_otsu(chroma) if np.ptp(chroma) else 0, *_CHROMA))
    mask = chroma > threshold
    if not mask.any():
        raise ValueError(
            f"{slide.path}: expected tissue, found none (colour differences up to {int(chroma.max())} of 255, at least "
            f"{threshold:.0f} expected)"
        )
    return ndimage.binary_dilation(mask, iterations=_RIM), downsample
