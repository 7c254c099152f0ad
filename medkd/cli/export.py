"""``medkd export``: the student in a format of deployment, checked against the network itself."""

from __future__ import annotations

import argparse

HELP = "export a bundle's student, and check it against the network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bundle, the format, and what to check on."""
    parser.add_argument("bundle", help="the bundle's folder, with models/model.pt")
    parser.add_argument("--format", choices=["torchscript", "onnx", "exported_program"], required=True)
    parser.add_argument(
        "--images",
        default=None,
        help="image or folder to compare on, or to calibrate int8 on (default: that of inference.yaml; training images)",
    )
    parser.add_argument(
        "--precision", choices=["fp32", "fp16", "int8"], default="fp32", help="other than fp32: of ONNX"
    )
    parser.add_argument("--dataset_dir", default=None, help="for int8: a datalist, whose validation images decide")
    parser.add_argument(
        "--bound", type=float, default=0.002, help="for int8: how far the key metric may fall (default: 0.002)"
    )
    parser.add_argument("--model_path", default=None, help="weights (default: BUNDLE/models/model.pt)")
    parser.add_argument(
        "--output", default=None, help="file to write (default: beside the weights, as .ts, .onnx or .pt2)"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from medkd.export import export_bundle

    names = ("format", "images", "model_path", "output", "precision", "dataset_dir", "bound")
    report = export_bundle(options.bundle, **{name: getattr(options, name) for name in names})
    size = report.path.stat().st_size / 2**20
    print(f"Exported:  {report.path} ({size:.1f} MiB)")
    if (found := report.quantisation) is not None:
        print(f"Score:     {report.metric} {found.score:.4f}, in float32 {found.before:.4f}")
        print(f"Layers:    {len(found.kept)} of {found.layers} stay in float32")
        return
    print(
        f"Compared:  {report.inputs} inputs, outputs up to {report.scale:.3g}, largest difference {report.difference:.2g}"
    )
