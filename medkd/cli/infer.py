"""``medkd infer``: a DICOM study in, a DICOM segmentation out."""

from __future__ import annotations

import argparse

from medkd.cli.runtime import add_runtime

HELP = "segment a DICOM series by a bundle's student, as a DICOM segmentation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bundle, the study and where to."""
    parser.add_argument("bundle", help="the bundle's folder, with models/model.pt")
    parser.add_argument("study", help="folder of one DICOM series of the bundle's modality")
    parser.add_argument("--output", required=True, help="file to write, for example seg.dcm")
    add_runtime(parser)
    parser.add_argument("--device", default=None, help="of the network (default: the GPU, if there is one)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    import torch

    from medkd.infer import infer_study

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    how = {"device": device, "runtime": options.runtime, "precision": options.precision}
    report = infer_study(options.bundle, options.study, options.output, **how)
    print(f"Written:  {report.path}, a segmentation of {report.slices} slices")
    for name, count in report.voxels.items():
        print(f"  {name}: {count} voxels")
