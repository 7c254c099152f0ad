"""Atomic files and folders."""

import hashlib
import subprocess

import pytest

from medkd.files import atomic_folder, atomic_path, sha256


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
    for name in (f".{ended.pid}-file.txt", f".{ended.pid}-other-file.txt", ".1-file.txt", ".mine-file.txt"):
        (tmp_path / name).touch()
    (tmp_path / f".{ended.pid}-folder").mkdir()
    (tmp_path / f".{ended.pid}-folder" / "half").touch()
    with atomic_path(tmp_path / "file.txt") as partial, atomic_folder(tmp_path / "folder"):
        partial.touch()
    kept = [
        ".1-file.txt",
        f".{ended.pid}-other-file.txt",
        ".mine-file.txt",
    ]  # of a process that runs, of another file, no process's
    assert names(tmp_path) == [*sorted(kept), "file.txt", "folder"]


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
