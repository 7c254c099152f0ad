"""A student of other classes, spacing, patches and network than its bundle's, trained by overrides of the command line."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

from medkd.bundle import copy_bundle
from medkd.datasets import make_cardiac_phantoms

from .helpers import run_bundle

NAMES = ["left ventricle", "myocardium", "right ventricle"]  # the other way round than in the bundle
SIZES = {
    2: {"patch_size": [32, 32], "pixdim": [1.4, 1.4, -1]},
    3: {"patch_size": [32, 32, 8], "pixdim": [1.6, 1.6, 3.0]},
}
QUICK = {"max_epochs": 1, "epoch_length": 2, "val_interval": 1, "num_workers": 0, "volumes_per_batch": 2}
_TURN = Rotation.from_euler("zx", [25, 15], degrees=True).as_matrix()
OBLIQUE = np.block([[_TURN * [1.3, 1.1, 7.8], np.array([[-40.0], [22.0], [5.0]])], [np.zeros((1, 3)), np.ones((1, 1))]])


def otherwise_trained(folder: Path, spatial_dims: int) -> Path:
    """A working copy with such a student, ``heart``, beside its ``data`` on an oblique and anisotropic grid."""
    make_cardiac_phantoms(folder / "made", strong=1, weak=3, validation=2, test=2, size=64, slices=3)
    data, heart = _tilted(folder / "made", folder / "data"), copy_bundle("confkd", folder / "heart")
    other = {"spatial_dims": spatial_dims, "class_names": NAMES, "network_def#channels": [4, 8, 16, 24]}
    settings = {**QUICK, **SIZES[spatial_dims], **other, "dataset_dir": data, "progress": "false"}
    run_bundle([heart / "configs" / "train.yaml"], **settings)
    return heart


def _tilted(data: Path, folder: Path) -> Path:
    shutil.copytree(data, folder)
    for path in folder.rglob("*.nii.gz"):
        image = nib.Nifti1Image(np.asanyarray(nib.load(path).dataobj), OBLIQUE)
        image.header.set_xyzt_units("mm", "sec")
        nib.save(image, path)
    datalist = json.loads((folder / "datalist.json").read_text())
    datalist["labels"] = {str(value): name for value, name in enumerate(["background", *NAMES])}
    (folder / "datalist.json").write_text(json.dumps(datalist))
    return folder
