"""A disk that fills up: an error with the file's name, no final map, and a run that goes on after space was made."""

import errno
import resource
import subprocess

import pytest

from medkd.files import partial_path


@pytest.fixture
def reference(made, new_run, tmp_path):
    run = new_run(made[0], output=tmp_path / "reference")(map_downsample=1)
    return {path.name: path.read_bytes() for path in run.output.iterdir()}


def refused(run, **options):
    with pytest.raises(OSError, match="finished tiles are kept: make space and run the same command again") as caught:
        run(map_downsample=1, **options)
    assert caught.value.filename.startswith(str(run.output))
    assert not run.result().exists()
    return caught.value.errno


def finished(run):
    return {path.name: path.read_bytes() for path in run.output.iterdir()}


@pytest.mark.parametrize("file", ["map.u8", "journal", "level1.u8", "contours", "overlay", "tiff"])
def test_wherever_the_disk_is_full(made, new_run, reference, file):
    """``/dev/full`` takes the place of one file after the other."""
    written = {"contours": "ring_contours.geojson", "overlay": "ring_overlay.png", "tiff": "ring_probability.ome.tif"}
    run = new_run(made[0])
    folder = run.output / ".ring.partial"
    path = partial_path(folder / written[file]) if file in written else folder / file
    stopped = new_run(made[0], network=StopsAfter(run.network, 2))
    with pytest.raises(KeyboardInterrupt):
        stopped(map_downsample=1)
    kept = path.read_bytes() if path.exists() else None
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/full")
    assert refused(run) == errno.ENOSPC
    path.unlink(missing_ok=True)
    if kept is not None:  # what was on the disk before it filled up
        path.write_bytes(kept)
    assert finished(run(map_downsample=1)) == reference


@pytest.mark.parametrize("space", [300, 700], ids=["in the map", "in its levels"])
def test_a_small_disk(made, new_run, reference, tmp_path, space):
    """A file system of so many KiB; where none can be mounted, a limit of the size of files."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={space}k", "none", str(disk)]
    mounted = subprocess.run(mount, capture_output=True).returncode == 0
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    run = new_run(made[0], output=disk / "out")
    try:
        if not mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (space * 1024, limits[1]))
        assert refused(run) == (errno.ENOSPC if mounted else errno.EFBIG)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        if mounted:
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert finished(run(map_downsample=1)) == reference
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        if mounted:
            subprocess.run(["umount", str(disk)], check=True)


class StopsAfter:
    """A network that is interrupted at its n-th batch."""

    def __new__(cls, network, batches):
        calls = iter(range(batches))

        def interrupted(module, inputs):
            if next(calls, None) is None:
                handle.remove()
                raise KeyboardInterrupt

        handle = network.register_forward_pre_hook(interrupted)
        return network
