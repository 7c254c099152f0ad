"""Names of studies and DICOM identifiers do not reach a log."""

import io
import logging

import pytest

from medkd.monailabel.privacy import hidden, hide_studies

SERIES = "1.2.826.0.1.3680043.8.498.17"
NAMES = {"Doe^Jane", "Doe Jane 1955", "case.one", "heart"}


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("MEDKD_LOG_KEY", "00")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Infer Request: {'image': 'Doe^Jane'}", "Doe"),
        ("/studies/Doe^Jane.nii.gz: cannot be read", "Doe"),
        ("'/studies/Doe Jane '\n  '1955.nii.gz'", "Jane"),  # as pprint breaks a line
        ("/studies/case.one.nii.gz", "case.one"),
        (f"Image ID: {SERIES}", SERIES),
        (f"/cache/{SERIES}/0001.dcm", SERIES),
        ("GET /infer/heart?image=Doe^Jane&output=image", "Doe"),
        ("/studies/.Doe^Jane.lock and Doe^Jane_seg.nii.gz", "Doe"),
        ("label_case.one-2.nii.gz", "case.one"),
    ],
)
def test_what_leads_to_a_patient_is_hidden(text, secret):
    assert secret in text.replace("'\n  '", "")
    found = hidden(text, NAMES)
    assert secret not in found
    assert "study-" in found


def test_what_does_not_is_left_alone():
    text = "MONAI 1.6.1 at 127.0.0.1:8000, loss 0.125, hearts.nii.gz"
    assert hidden(text, NAMES) == text


def test_one_study_has_one_name_and_another_key_another(monkeypatch):
    first = hidden("Doe^Jane.nii.gz", NAMES)
    assert first == hidden("Doe^Jane", NAMES) + ".nii.gz" != hidden("heart.nii.gz", NAMES)
    monkeypatch.setenv("MEDKD_LOG_KEY", "01")
    assert hidden("Doe^Jane.nii.gz", NAMES) != first


def test_every_logger_of_the_process_hides_them_and_tracebacks_too():
    before, stream = logging.getLogRecordFactory(), io.StringIO()
    logger, handler = logging.Logger("someone else's"), logging.StreamHandler(stream)
    logger.addHandler(handler)
    try:
        hide_studies(lambda: NAMES)
        logger.warning("%s and %s", "Doe^Jane", SERIES)
        try:
            raise ValueError("Doe^Jane.nii.gz: no volume")
        except ValueError:
            logger.exception("failed")
    finally:
        logging.setLogRecordFactory(before)
    said = stream.getvalue()
    assert ("Doe" in said, SERIES in said, "no volume" in said, "Traceback" in said) == (False, False, True, True)
