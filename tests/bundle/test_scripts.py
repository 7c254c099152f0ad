"""Bundles with code of their own: each finds its own, though all call it ``scripts``."""

import importlib
import sys
from pathlib import Path

import pytest

from medkd.bundle.scripts import find_scripts


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "scripts"]:
        monkeypatch.delitem(sys.modules, name)


def _bundle(folder: Path, value: int) -> Path:
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts" / "__init__.py").touch()
    (folder / "scripts" / "losses.py").write_text(f"VALUE = {value}\n")
    return folder


def test_each_bundle_finds_its_own(tmp_path: Path) -> None:
    one, other = _bundle(tmp_path / "one", 1), _bundle(tmp_path / "other", 2)
    found = []
    for bundle in (one, other, other, one):
        find_scripts(bundle)
        found.append(importlib.import_module("scripts.losses"))
    assert [module.VALUE for module in found] == [1, 2, 2, 1]
    assert found[1] is found[2]  # what is there is not made anew
    assert sys.path.count(str(one)) == sys.path.count(str(other)) == 1


def test_a_bundle_without_code_changes_nothing(tmp_path: Path) -> None:
    before = list(sys.path)
    find_scripts(tmp_path)
    assert sys.path == before
