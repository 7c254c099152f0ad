"""DICOM in and out: a checked series, and masks as DICOM segmentation objects."""

from medkd.dicom.segmentation import write_segmentation
from medkd.dicom.series import Series, read_series

__all__ = ["Series", "read_series", "write_segmentation"]
