"""Digests tell data apart by their bytes, and are not computed twice."""

import hashlib
import json
import os
import sqlite3
import time
from pathlib import Path

import pytest

from medkd.datasets import digest_cache
from medkd.datasets.digests import file_digests, image_overlap, patient_overlap, section_digest


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "digests.db"


def section(folder, contents, **more):
    """Items of image and label, written as they are told."""
    folder.mkdir(parents=True)
    items = []
    for number, content in enumerate(contents):
        for kind in ("image", "label"):
            (folder / f"{number}_{kind}.bin").write_bytes(f"{content} {kind}".encode())
        items.append({kind: str(folder / f"{number}_{kind}.bin") for kind in ("image", "label")} | more)
    return items


def digest(items, cache):
    return section_digest(items, file_digests(items, cache))


def test_a_file_s_digest_is_its_sha256(tmp_path, cache):
    (item,) = section(tmp_path / "a", ["one"])
    assert file_digests([item], cache)[item["image"]] == hashlib.sha256(b"one image").hexdigest()


def test_a_section_is_known_by_its_bytes_alone(tmp_path, cache):
    first, moved = section(tmp_path / "a", ["one", "two"]), section(tmp_path / "b" / "c", ["one", "two"], patient="p")
    assert digest(first, cache) == digest(moved, cache)
    assert len(digest(first, cache)) == 32  # MLflow keeps 36 characters
    assert digest(first, cache) != digest(section(tmp_path / "d", ["one", "twO"]), cache)
    assert digest(first, cache) != digest(first[:1], cache)
    assert digest(first, cache) != digest(first[::-1], cache)
    swapped = [{"image": item["label"], "label": item["image"]} for item in first]
    assert digest(first, cache) != digest(swapped, cache)


def test_what_is_learned_of_a_file_counts_too(tmp_path, cache):
    items = section(tmp_path / "a", ["one"])
    known = digest(items, cache)
    assert known != digest([{**items[0], "supervision": "weak"}], cache)
    assert known != digest([{**items[0], "label": 1}], cache)
    assert known != digest([{**items[0], "location": [0, 8], "size": [4, 4]}], cache)


def test_a_byte_that_changes_changes_the_digest_although_size_and_time_stay(tmp_path, cache):
    items = section(tmp_path / "a", ["one", "two"])
    before, image = digest(items, cache), Path(items[0]["image"])
    status = image.stat()
    time.sleep(0.02)  # of a clock that ticks every 4 ms
    with image.open("r+b") as file:
        file.write(b"0")
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest(items, cache) != before


def test_a_folder_of_slices_is_known_by_names_and_bytes(tmp_path, cache):
    for series in ("a", "b"):
        section(tmp_path / series, ["one", "two"])
    items = [{"image": str(tmp_path / series)} for series in ("a", "b")]
    first, second = (file_digests(items, cache)[item["image"]] for item in items)
    assert first == second
    (tmp_path / "b" / "0_image.bin").write_bytes(b"one imagE")
    assert file_digests(items[1:], cache)[items[1]["image"]] != first


def test_what_did_not_change_is_not_read_again(tmp_path, cache, monkeypatch):
    items, read = section(tmp_path / "a", ["one", "two"]), []
    real = digest_cache.sha256
    monkeypatch.setattr(digest_cache, "sha256", lambda path: read.append(path) or real(path))
    before = file_digests(items, cache)
    assert len(read) == 4
    assert file_digests(items, cache) == before
    assert len(read) == 4
    time.sleep(0.02)
    (tmp_path / "a" / "1_image.bin").write_bytes(b"other")
    assert file_digests(items, cache) != before
    assert read[4:] == [str(tmp_path / "a" / "1_image.bin")]


def test_what_is_kept_names_no_file(tmp_path, cache):
    items = section(tmp_path / "Doe^Jane", ["one"])
    file_digests(items, cache)
    assert b"Doe" not in cache.read_bytes()
    with sqlite3.connect(cache) as kept:
        assert kept.execute("SELECT count(*) FROM digests").fetchone() == (2,)


@pytest.mark.parametrize("broken", ["a file in its place", "no database"])
def test_where_nothing_can_be_kept_everything_is_read(tmp_path, cache, caplog, broken):
    items = section(tmp_path / "a", ["one"])
    if broken == "no database":
        cache.parent.mkdir()
        cache.write_bytes(b"something else" * 100)
    else:
        cache.parent.touch()
    assert file_digests(items, cache)[items[0]["image"]] == hashlib.sha256(b"one image").hexdigest()
    assert "digests cannot be kept there" in caplog.text


def test_patients_that_both_know_are_counted_once():
    known = [{"image": "1", "patient": "a"}, {"image": "2", "patient": "b"}]
    test = [{"image": str(n), "patient": patient} for n, patient in enumerate("bbcd")]
    assert patient_overlap(known, test) == "1 of 3 test patients are in training or validation"
    assert patient_overlap(known, test[2:]) == "0"
    seen = [{"image": "9", "patient": "frames 1 to 9", "seen": True}, *test[2:]]
    assert patient_overlap(known, seen) == "1 of 3 test patients are in training or validation"
    assert patient_overlap(known, [{"image": "1"}]) == "unknown: the datalist names no patients of the test images"
    assert patient_overlap([{"image": "1"}], test) == "unknown: the datalist names no patients of the training images"


def test_images_that_both_know_are_found_by_their_bytes(tmp_path, cache):
    known, test = section(tmp_path / "a", ["one", "two"]), section(tmp_path / "b", ["two", "three"])
    found = file_digests([*known, *test], cache)
    assert image_overlap(known, test, found) == "1 of 2 test images are in training or validation, byte for byte"
    assert image_overlap(known[:1], test, found) == "0"
    parts = [{**test[0], "location": [0, n], "size": [8, 8]} for n in (0, 8)]  # of one slide
    assert image_overlap(parts[:1], parts[1:], found) == "0"
    assert json.dumps(found)
