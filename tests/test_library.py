"""A working copy of a bundle: from the repository, and from a wheel where there is no repository."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from medkd.bundle import bundle_names, bundle_path, copy_bundle
from medkd.cli import main

ROOT = Path(__file__).resolve().parents[1]
CARDIAC = "confkd_cardiac_mri_segmentation"


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def committed() -> dict[str, bytes]:
    """The files of the bundles that belong to the repository, by their path in ``bundles``."""
    listed = subprocess.run(["git", "ls-files", "bundles"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name.partition("/")[2]: (ROOT / name).read_bytes() for name in listed.splitlines()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel's content, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "site-packages")
    return folder / "site-packages"


def test_every_bundle_is_found_by_its_name_and_its_method():
    assert bundle_names() == sorted(path.name for path in (ROOT / "bundles").iterdir())
    assert bundle_path("confkd") == bundle_path(CARDIAC) == ROOT / "bundles" / CARDIAC


def test_an_unknown_bundle_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(ValueError, match=rf"name or the method of a bundle \(.*{CARDIAC}, .*\), got 'conf'"):
        copy_bundle("conf", tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_a_copy_holds_the_bundle_and_nothing_that_was_made_in_it(tmp_path, monkeypatch):
    trained = tmp_path / "bundles" / CARDIAC
    for name in ("configs/metadata.json", "models/model.pt", "checkpoints/epoch=0001.pt", "eval/cases.csv"):
        (trained / name).parent.mkdir(parents=True)
        (trained / name).write_text("made")
    monkeypatch.setattr("medkd.library._PACKAGE", tmp_path)
    assert files(copy_bundle("confkd", tmp_path / "copy")) == {"configs/metadata.json": b"made"}


def test_the_command_copies_and_never_overwrites(tmp_path, capsys):
    folder = tmp_path / "heart"
    assert main(["bundle", "confkd", str(folder)]) == 0
    assert f"cd {folder}" in capsys.readouterr().out
    expected = {n.partition("/")[2]: c for n, c in committed().items() if n.startswith(f"{CARDIAC}/")}
    assert files(folder) == expected
    (folder / "configs" / "train.yaml").write_text("mine")
    assert main(["bundle", "confkd", str(folder)]) == 1
    assert f"{folder} exists and is not an empty folder" in capsys.readouterr().err
    assert (folder / "configs" / "train.yaml").read_text() == "mine"


def test_a_wheel_has_the_bundles(wheel, tmp_path):
    assert files(wheel / "medkd" / "bundles") == committed()
    assert {path.name for path in wheel.iterdir()} == {"medkd", f"medkd-{_version(wheel)}.dist-info"}
    code = "import sys, medkd.cli; sys.exit(medkd.cli.main(['bundle', 'kdas', 'polyp']))"
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert files(tmp_path / "polyp") == files(wheel / "medkd" / "bundles" / "kdas_polyp_segmentation")


def test_a_server_gets_the_installed_files_again_when_they_changed_and_nothing_from_an_index(wheel, tmp_path):
    shutil.copytree(wheel, tmp_path / "installed", ignore=shutil.ignore_patterns("__pycache__"))
    venv.create(tmp_path / "server", with_pip=True)
    python = tmp_path / "server" / "bin" / "python"
    (packages,) = (tmp_path / "server" / "lib").glob("python*/site-packages")
    code = "import sys; from medkd.serving.environment import install_own; install_own(sys.argv[1])"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed"), "PIP_NO_INDEX": "1"}
    for change in ("", "# of the same version"):
        with (tmp_path / "installed" / "medkd" / "outputs.py").open("a") as file:
            file.write(change)
        subprocess.run([sys.executable, "-B", "-c", code, str(python)], cwd=tmp_path, env=environment, check=True)
        server = {name: content for name, content in files(packages / "medkd").items() if "__pycache__" not in name}
        assert server == files(tmp_path / "installed" / "medkd")
    assert (python.parent / "medkd").is_file()


def _version(wheel: Path) -> str:
    (info,) = wheel.glob("medkd-*.dist-info")
    return info.name.split("-")[1].removesuffix(".dist")
