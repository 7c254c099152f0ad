"""Atomic files and folders."""

import hashlib
import subprocess

import pytest

from medkd.files import atomic_folder, atomic_path, partial_path, sha256


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_atomic_path_writes_the_target_and_makes_its_folder(tmp_path):
    target = tmp_path / "new" / "file.txt"
    with atomic_path(target) as partial:
        assert partial.parent == target.parent
        partial.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert names(target.parent) == ["file.txt"]


def test_atomic_path_leaves_the_old_content_on_an_error(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), atomic_path(str(target)) as partial:  # noqa: PT012
        partial.write_text("ne")
        raise RuntimeError("half way")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_atomic_path_fails_when_nothing_was_written(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"file\.txt"), atomic_path(tmp_path / "file.txt"):
        pass
    assert names(tmp_path) == []


def test_what_a_killed_process_left_of_a_file_goes_with_the_next_writing(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    file, folder = tmp_path / "file.txt", tmp_path / "folder"
    partial_path(file, str(ended.pid)).touch()
    partial_path(folder, str(ended.pid)).mkdir()
    (partial_path(folder, str(ended.pid)) / "half").touch()
    others = [
        partial_path(file, "1"),
        partial_path(tmp_path / "other-file.txt", str(ended.pid)),
    ]  # one that runs, another file
    others += [tmp_path / f".{ended.pid}-abcdef-file.txt", tmp_path / ".mine-file.txt"]  # another machine, no process's
    for other in others:
        other.touch()
    with atomic_path(file) as partial, atomic_folder(folder):
        partial.touch()
    assert names(tmp_path) == sorted([*(other.name for other in others), "file.txt", "folder"])


def test_atomic_folder_appears_whole(tmp_path):
    target = tmp_path / "a" / "folder"
    with atomic_folder(target) as partial:
        (partial / "one").write_text("1")
        assert not target.exists()
    assert (target / "one").read_text() == "1"
    assert names(target.parent) == ["folder"]


def test_atomic_folder_may_replace_an_empty_one(tmp_path):
    (tmp_path / "folder").mkdir()
    with atomic_folder(tmp_path / "folder") as partial:
        (partial / "one").touch()
    assert names(tmp_path / "folder") == ["one"]


def test_atomic_folder_leaves_nothing_on_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="half way"), atomic_folder(tmp_path / "folder") as partial:  # noqa: PT012
        (partial / "one").touch()
        raise RuntimeError("half way")
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "filled folder"])
def test_atomic_folder_refuses_what_is_there(tmp_path, kind):
    target = tmp_path / "taken"
    kept = target if kind == "file" else target / "kept"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    with pytest.raises(FileExistsError, match=r"taken exists and is not an empty folder"), atomic_folder(target):
        pytest.fail("the block must not run")
    assert kept.read_text() == "mine"
    assert names(tmp_path) == ["taken"]


@pytest.mark.parametrize("content", [b"", b"abc", bytes(range(256)) * 5000], ids=["empty", "short", "two blocks"])
def test_sha256_is_that_of_the_content(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
