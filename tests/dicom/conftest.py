"""A synthetic MR series in an oblique orientation, with a patient whom nobody may meet outside DICOM."""

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

PATIENT = {"PatientName": "Planted^Secret", "PatientID": "PLANTED-4711", "PatientBirthDate": "19011231"}
ROW, COLUMN = np.array([0.8, 0.6, 0.0]), np.array([-0.6, 0.8, 0.0])
ROWS, COLUMNS, SLICES, STEP = 38, 45, 5, 7.5


def volume() -> np.ndarray:
    """``[slices, rows, columns]``, different everywhere."""
    return np.random.default_rng(0).integers(0, 1000, (SLICES, ROWS, COLUMNS)).astype(np.uint16)


def datasets(pixels: np.ndarray) -> list[Dataset]:
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    return [_slice(pixels[k], k, study, series, frame) for k in range(len(pixels))]


def _slice(pixels, k, study, series, frame):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = Dataset()
    made.file_meta = meta
    made.SOPClassUID, made.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = study, series, frame
    for key, value in PATIENT.items():
        setattr(made, key, value)
    made.PatientSex, made.Modality, made.Manufacturer, made.StudyID = "O", "MR", "None", "1"
    made.StudyDate, made.StudyTime, made.AccessionNumber, made.ReferringPhysicianName = "20200101", "120000", "", ""
    made.SeriesNumber, made.InstanceNumber, made.PositionReferenceIndicator = 3, SLICES - k, ""
    made.Rows, made.Columns, made.SamplesPerPixel, made.PhotometricInterpretation = *pixels.shape, 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
    made.PixelSpacing, made.SliceThickness, made.SpacingBetweenSlices = [1.25, 1.5], STEP, STEP
    made.ImageOrientationPatient = [*ROW, *COLUMN]
    made.ImagePositionPatient = [float(v) for v in np.array([-30.0, 12.0, 40.0]) + k * STEP * np.cross(ROW, COLUMN)]
    made.PixelData = pixels.tobytes()
    return made


def write(folder, slices) -> None:
    """Names that are not the order of the slices."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, dataset in enumerate(slices):
        dataset.save_as(folder / f"{(number * 7) % 11:02d}-{number}.dcm", enforce_file_format=True)


@pytest.fixture
def series(tmp_path):
    write(tmp_path / "series", datasets(volume()))
    return tmp_path / "series"
