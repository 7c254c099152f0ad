"""What tests of several folders share."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def on_the_series(mask: Path, series: Path) -> np.ndarray:
    """A mask's file on the grid of a DICOM series, both as SimpleITK reads them."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    image = reader.Execute()
    return sitk.GetArrayFromImage(
        sitk.Resample(sitk.ReadImage(str(mask)), image, sitk.Transform(), sitk.sitkNearestNeighbor)
    )


def by_dcmqi(seg: Path, folder: Path) -> tuple[Path, list[str]]:
    """What dcmqi makes of a DICOM segmentation: the mask's file, and the codes of its segments."""
    folder.mkdir()
    converter = Path(sys.executable).parent / "segimage2itkimage"
    assert converter.is_file(), "dcmqi is one of the test extras"
    command = [str(converter), "--inputDICOM", str(seg), "--outputDirectory", str(folder), "--outputType", "nii"]
    subprocess.run([*command, "--mergeSegments"], check=True, capture_output=True)
    described = json.loads(next(folder.glob("*.json")).read_text())
    segments = [segment for group in described["segmentAttributes"] for segment in group]
    codes = [segment["SegmentedPropertyTypeCodeSequence"]["CodeValue"] for segment in segments]
    return next(folder.glob("*.nii.gz")), sorted(codes)
