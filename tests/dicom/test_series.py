"""A series is a volume, or it is said why it is not; the patient is never named."""

import numpy as np
import pytest

from medkd.dicom import read_series

from .conftest import PATIENT, SLICES, datasets, volume, write


def test_slices_come_in_the_order_of_their_positions(series):
    found = read_series(series, modality="MR")
    assert len(found.slices) == SLICES
    assert np.array_equal(np.stack([s.pixel_array for s in found.slices]), volume())


def _missing(slices):
    del slices[2]


def _turned(slices):
    slices[3].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]


def _first_turned(slices):
    slices[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]


def _phases(slices):
    slices += datasets(volume())
    for added in slices[SLICES:]:
        added.SeriesInstanceUID = slices[0].SeriesInstanceUID


def _interleaved(slices):
    for one, number in zip(slices, [1, 3, 2, 4, 5], strict=True):
        one.InstanceNumber = number


def _unnumbered(slices):
    for one in slices:
        one.InstanceNumber = None


def _second_series(slices):
    slices += datasets(volume())[:2]


def _other_size(slices):
    slices[1].Rows, slices[1].PixelData = 19, slices[1].PixelData[: 19 * 45 * 2]


def _no_position(slices):
    del slices[1].ImagePositionPatient


def _frames(slices):
    slices[0].NumberOfFrames = 20


def _ct(slices):
    for one in slices:
        one.Modality = "CT"


FAULTS = pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (_missing, r"expected slices every 7\.50 mm, found 15\.00 mm after slice 2 of 4; a slice may be missing"),
        (_turned, "expected one orientation, found 1 of 5 slices in another"),
        (_first_turned, "expected one orientation, found 1 of 5 slices in another"),
        (_phases, "10 slices at 5 positions; split the phases"),
        (
            _interleaved,
            "expected slices that follow each other by their instance numbers, found 1 of 4 steps that go back",
        ),
        (_unnumbered, r"expected slices that follow each other by their instance numbers, found \d of 4 steps"),
        (_second_series, r"found 2 series with \[2, 5\] files"),
        (_other_size, r"expected slices of one size, found \[\(19, 45\), \(38, 45\)\]"),
        (_no_position, "expected slices with a position and an orientation, found 1 without"),
        (_frames, "expected one frame in a file, found 20"),
    ],
)


def test_another_modality_is_refused(tmp_path):
    slices = datasets(volume())
    _ct(slices)
    write(tmp_path / "study", slices)
    with pytest.raises(ValueError, match="expected the modality MR, found CT"):
        read_series(tmp_path / "study", modality="MR")


@FAULTS
def test_what_is_no_volume_is_refused_without_naming_the_patient(tmp_path, break_it, message):
    slices = datasets(volume())
    break_it(slices)
    write(tmp_path / "study", slices)
    with pytest.raises(ValueError, match=message) as caught:
        read_series(tmp_path / "study", modality="MR")
    assert not [value for value in PATIENT.values() if value in str(caught.value)]


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected the folder of a DICOM series, found none"):
        read_series(tmp_path / "nowhere")
